"""The figures' numbers, as their CSV files give them."""

import csv
import io

from mcss_tf.reproduction import figures
from mcss_tf.reproduction.keypoint_rows import NOISE


def read(text):
    return list(csv.reader(io.StringIO(text)))[1:]


def test_noise_has_a_line_for_every_network_and_one_for_each_triangulation():
    def cell(refined_mm):
        measured = {"dlt": 40.0, "weighted_dlt": 39.0, "refined": refined_mm}
        return {
            f"noise.{scale}.{name}.mpjpe_mm": [value, value + 2]
            for scale in NOISE
            for name, value in measured.items()
        }

    networks = {"small": {"none": cell(30.0)}, "wide": {"none": cell(20.0)}, "not run": {"none": {}}}
    rows = read(figures.draw_numbers({"refinement_noise": networks})["refinement_noise"][1])
    names = ["DLT", "weighted DLT", "refined, small", "refined, wide"]
    assert [row[:2] for row in rows] == [[name, str(scale)] for name in names for scale in NOISE]
    means = {row[0]: float(row[2]) for row in rows}
    assert means == dict(zip(names, (41.0, 40.0, 31.0, 21.0), strict=True))
    assert all(abs(float(row[3]) - 2**0.5) < 1e-9 for row in rows)


def test_experiments_without_a_network_are_not_drawn():
    assert figures.draw_numbers({"refinement_noise": {"small": {"none": {}}}, "fig3": {}}) == {}
