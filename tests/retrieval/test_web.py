"""The web page: its answers, and the page itself in a browser where there is one."""

import json
import re
import shutil
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.images import decode_image
from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.retrieval.embedder import Embedder
from mcss_tf.retrieval.searching import Searcher
from mcss_tf.retrieval.web import MAX_UPLOAD_BYTES, Gallery, serve

WINDOW = (1180, 900)


@pytest.fixture(scope="module")
def address(flat: Path, embedder: Embedder) -> Iterator[str]:
    server = serve(Gallery(embedder, Searcher(flat)), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def get(url: str) -> requests.Response:
    return requests.get(url, timeout=60)


def test_what_the_page_is_told(address: str) -> None:
    about = get(f"{address}/about").json()
    assert about["num_images"] == 72
    assert about["subjects"] == ["S1", "S2", "S3"]
    assert about["joint_names"] == list(HUMAN36M_17.joint_names)
    assert about["edges"] == [list(edge) for edge in HUMAN36M_17.edges]
    listed = get(f"{address}/images?start=70&count=10").json()
    assert [image["number"] for image in listed] == [70, 71]
    assert len(get(f"{address}/images?start=0&count=100000").json()) == 72


def test_an_image_has_its_pose_and_its_neighbours(
    address: str, flat: Path, embedder: Embedder, dataset: PreparedDataset
) -> None:
    searcher = Searcher(flat)
    number = searcher.position("S2/walk0/3/cam1")
    answer = get(f"{address}/look/{number}").json()
    (jpeg,) = dataset.read_images([searcher.ids.row[number]], [1])
    assert get(f"{address}/image/{number}.jpg").content == jpeg
    expected = embedder.photo(decode_image(jpeg, ""))["pose_mm"]
    pose_mm = np.array(answer["pose_mm"])
    assert pose_mm.shape == (17, 3)
    np.testing.assert_array_equal(pose_mm[0], 0)
    np.testing.assert_allclose(pose_mm[1:], expected, atol=0.06)
    views, people = answer["rows"]
    found = [item.image for item in searcher.nearest_to(number, 8, "views")]
    assert [image["number"] for image in views["images"]] == found
    assert not [image for image in views["images"] if image["id"].endswith("/cam1")]
    assert not [image for image in people["images"] if image["id"].startswith("S2/")]
    marked = [image["id"] for image in views["images"] if image["is_same_instant"]]
    assert set(marked) <= {"S2/walk0/3/cam0", "S2/walk0/3/cam2"}


def test_an_upload_is_found_again(address: str, flat: Path, dataset: PreparedDataset) -> None:
    searcher = Searcher(flat)
    (jpeg,) = dataset.read_images([searcher.ids.row[50]], [searcher.ids.camera[50]])
    answer = requests.post(f"{address}/look", data=jpeg, timeout=60).json()
    (row,) = answer["rows"]
    assert row["images"][0]["number"] == 50
    assert row["images"][0]["distance"] < 0.01
    assert np.shape(answer["pose_mm"]) == (17, 3)


@pytest.mark.parametrize("data", [b"", b"not an image", b"\xff\xd8\xff\xe0 and no more"])
def test_a_corrupt_upload_is_told(address: str, data: bytes) -> None:
    answer = requests.post(f"{address}/look", data=data, timeout=60)
    assert answer.status_code == 400
    assert re.fullmatch(
        r"An image must be readable. Received: an upload of \d+ bytes. Replace it.", answer.json()["error"]
    )


def test_what_is_not_there(address: str) -> None:
    assert get(f"{address}/look/72").json()["error"] == "Images are numbered from 0 to 71. Received: 72."
    assert get(f"{address}/image/72.jpg").status_code == 400
    for path in ("nothing", "look/x", "image/..%2fabout", "look/" + "9" * 40):
        assert get(f"{address}/{path}").status_code == 404, path
    assert requests.post(f"{address}/about", data=b"x", timeout=60).status_code == 404
    too_large = requests.post(
        f"{address}/look", headers={"Content-Length": str(MAX_UPLOAD_BYTES + 1)}, timeout=60
    )
    assert "An upload has at most 30 MB" in too_large.json()["error"]


def test_a_huge_picture_is_refused_before_it_is_decoded() -> None:
    # A PNG of one black line that says it is 60,000 x 60,000: 10.8 GB of pixels.

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    with pytest.raises(InputError, match=r"memory holds. Received: huge.png: Image size \(3600000000"):
        decode_image(png, "huge.png")


def test_the_page_loads_nothing_from_elsewhere(address: str) -> None:
    page = get(address)
    assert not re.search(r"(src|href)=\"(https?:)?//|@import|url\(", page.text)
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]


@pytest.fixture
def browser(tmp_path: Path):
    """Chromium without a window; skips where there is none."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("the page is looked at with chromium and chromedriver; they are not on the PATH")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
        "disable-background-networking", "disable-component-update", "disable-dev-shm-usage",
        "force-prefers-reduced-motion", f"user-data-dir={tmp_path}/profile",
        f"window-size={WINDOW[0]},{WINDOW[1]}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
    yield window
    window.quit()


@pytest.mark.slow
def test_in_a_browser(address: str, browser, dataset: PreparedDataset, tmp_path: Path) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def wait_until(condition) -> None:
        WebDriverWait(browser, 60).until(lambda _: condition())

    def settled() -> bool:
        return browser.find_element(By.TAG_NAME, "body").get_attribute("data-state") == "ready"

    def text(name: str) -> str:
        return browser.find_element(By.ID, name).text

    def drawing() -> str:
        return browser.execute_script("return document.getElementById('pose').toDataURL()")

    browser.get(address)
    wait_until(settled)
    assert "72 images of 3 people in 3 views" in text("about")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#strip button")) == 60
    assert text("range") == "1 to 60 of 72"
    first, first_name = drawing(), text("name")
    inked = (
        "const d = document.getElementById('pose').getContext('2d').getImageData(0, 0, 680, 680).data;"
        "return d.filter((value, i) => i % 4 == 3 && value > 0).length"
    )
    assert browser.execute_script(inked) > 5000
    assert "Nearest: other views, anyone" in text("rows")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#rows figure")) == 16
    # Dragging turns the skeleton, and so do the arrow keys.
    canvas = browser.find_element(By.ID, "pose")
    ActionChains(browser).drag_and_drop_by_offset(canvas, 80, 20).perform()
    turned = drawing()
    assert turned != first
    canvas.send_keys("\ue014")
    assert drawing() != turned
    # A neighbour becomes the query.
    neighbour = browser.find_elements(By.CSS_SELECTOR, "#rows figure button")[1]
    name = neighbour.get_attribute("title")
    neighbour.click()
    wait_until(lambda: settled() and text("name") == name)
    assert name != first_name
    assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    # A corrupt upload is told, and what was shown stays.
    upload = browser.find_element(By.ID, "file")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    upload.send_keys(str(tmp_path / "broken.jpg"))
    wait_until(lambda: "An image must be readable" in text("error"))
    assert text("name") == name
    (tmp_path / "photo.jpg").write_bytes(dataset.read_images([2], [0])[0])
    upload.send_keys(str(tmp_path / "photo.jpg"))
    wait_until(lambda: text("name") == "your image")
    assert text("error") == ""
    assert "Nearest: all images" in text("rows")
    browser.find_element(By.ID, "next").click()
    wait_until(lambda: text("range") == "61 to 72 of 72")
    loaded = json.loads(
        browser.execute_script(
            "return JSON.stringify(performance.getEntriesByType('resource').map(e => e.name))"
        )
    )
    assert loaded
    assert all(url.startswith((address, f"blob:{address}", "data:")) for url in loaded)
