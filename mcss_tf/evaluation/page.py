"""Pages that stand alone: one HTML file, style and pictures within, nothing to download."""

import base64
import html

from mcss_tf.data.dataset import PreparedDataset

_STYLE = """
body{margin:0;background:#f6f7f8;color:#222;font:15px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:26px;font-weight:600;margin:0 0 4px}
h2{font-size:18px;font-weight:600;margin:40px 0 12px}
p,.note{color:#555;margin:6px 0 12px;max-width:76ch}
.note{font-size:13px}
section{background:#fff;border:1px solid #e4e6e8;border-radius:8px;padding:4px 24px 20px;margin-top:20px}
section h2{margin-top:18px}
.cards{display:flex;flex-wrap:wrap;gap:12px;margin-top:20px}
.card{background:#fff;border:1px solid #e4e6e8;border-radius:8px;padding:14px 18px;min-width:136px;flex:1}
.card b{display:block;font-size:25px;font-weight:600;color:#0072B2}
.card span{font-size:13px;color:#666}
table{border-collapse:collapse;margin:8px 0 4px;font-variant-numeric:tabular-nums}
th,td{padding:5px 14px 5px 0;text-align:right;border-bottom:1px solid #eceef0}
th{font-weight:500;color:#666;font-size:13px}
th:first-child,td:first-child{text-align:left}
img{max-width:100%}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:0 20px}
.row{display:flex;gap:24px;align-items:flex-start;padding:14px 0;border-top:1px solid #eceef0}
.found{display:flex;flex-wrap:wrap;gap:10px}
.found h3{flex-basis:100%;margin:0 0 -4px;font-size:13px;font-weight:500;color:#666}
.found + .found{margin-top:12px}
.poses{display:flex;flex-wrap:wrap;gap:12px 28px}
.pose{display:flex;align-items:center}
figure{margin:0;width:112px;font-size:12px;line-height:1.35;color:#555}
figure img{width:106px;height:106px;object-fit:cover;border:3px solid #dfe3e6;border-radius:6px}
figure.query img{border-color:#222}
figure.hit img{border-color:#009E73}
.pose > img{height:210px}
dt{font-weight:600;margin-top:10px}
dd{margin:0;color:#555;max-width:80ch}
"""


def document(title: str, body: str) -> str:
    """Returns a page; `body` is HTML, `title` is not."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>{html.escape(title)}</h1>{body}</main></body></html>\n"
    )


def section(title: str, body: str, note: str = "") -> str:
    """Returns a titled part of a page; nothing for an empty body."""
    if not body:
        return ""
    note = f'<p class="note">{html.escape(note)}</p>' if note else ""
    return f"<section><h2>{html.escape(title)}</h2>{body}{note}</section>"


def view(dataset: PreparedDataset, jpeg: bytes, row: int, camera: int, kind: str, caption: str) -> str:
    """Returns a crop with a caption, and under it who, where and when it is.

    Args:
        dataset: that it comes from.
        jpeg: the crop.
        row: of the instant in the dataset's index.
        camera: id.
        kind: "query", "hit" (drawn in green) or "".
        caption: first line.
    """
    index = dataset.index
    place = f"{dataset.subjects[index.subject[row]]} {dataset.sequences[index.sequence[row]]['sequence']}"
    time = f"{dataset.cameras[camera]}, {index.time_s[row]:.2f} s"
    return figure(jpeg, kind, (caption, place, time))


def figure(jpeg: bytes, kind: str, lines: tuple[str, ...]) -> str:
    """Returns a picture with lines of text under it."""
    text = "<br>".join(html.escape(line) for line in lines)
    return f'<figure class="{kind}">{image(jpeg, "image/jpeg")}<figcaption>{text}</figcaption></figure>'


def image(data: bytes, kind: str) -> str:
    """Returns a picture that is part of the page."""
    return f'<img alt="" src="data:{kind};base64,{base64.b64encode(data).decode()}">'
