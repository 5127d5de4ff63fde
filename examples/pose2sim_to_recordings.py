"""Lays a Pose2Sim project out as a recordings folder, with links instead of copies.

    python examples/pose2sim_to_recordings.py PROJECT RECORDINGS --subject=S1 --sequence=balancing

PROJECT holds videos/<camera>.mp4, calibration.toml (or calibration/*.toml), and, where present,
pose-associated/<camera>_json/*.json (or pose/...) of BODY_25B keypoints and one .trc, which stays out
unless --labels is given.
"""

import argparse
from pathlib import Path


def main() -> None:
    """Links what is there and writes recordings.toml."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--subject", default="S1")
    parser.add_argument("--sequence", default="take1")
    parser.add_argument("--keypoints", default="body_25b", help="joints of the keypoint files")
    parser.add_argument("--labels", action="store_true", help="also link the .trc as 3D labels")
    arguments = parser.parse_args()
    project = arguments.project.resolve()
    sequence = arguments.recordings / arguments.subject / arguments.sequence
    (sequence / "keypoints").mkdir(parents=True)
    for video in sorted((project / "videos").iterdir()):
        (sequence / video.name).symlink_to(video)
        for folder in ("pose-associated", "pose"):
            keypoints = project / folder / f"{video.stem}_json"
            if keypoints.is_dir():
                (sequence / "keypoints" / video.stem).symlink_to(keypoints)
                break
    calibrations = [*project.glob("calibration.toml"), *project.glob("calibration/*.toml")]
    if calibrations:
        (sequence / "cameras.toml").symlink_to(calibrations[0])
    if arguments.labels:
        (trc,) = [*project.glob("*.trc"), *project.glob("pose-3d/*.trc")]
        (sequence / trc.name).symlink_to(trc)
    (arguments.recordings / "recordings.toml").write_text(f'keypoints = "{arguments.keypoints}"\n')


if __name__ == "__main__":
    main()
