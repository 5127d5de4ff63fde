"""What the procedural performer can do: ranges of joint angles per action, in degrees.

An action names only the channels in which it differs from relaxed standing. Left and right limbs
draw from the same ranges; channels that begin with `lead_` overrule one side, drawn anew for every key pose.
"""

import dataclasses

Range = tuple[float, float]

# fmt: off
STANDING: dict[str, Range] = {
    "pelvis_pitch": (-5, 5), "pelvis_roll": (-4, 4),
    "spine_flex": (-8, 18), "spine_side": (-10, 10), "spine_twist": (-20, 20),
    "head_flex": (-15, 25), "head_tilt": (-12, 12), "head_turn": (-45, 45),
    "shoulder_flex": (-20, 30), "shoulder_abd": (4, 22), "shoulder_twist": (-40, 30), "elbow": (5, 45),
    "hip_flex": (-8, 14), "hip_abd": (2, 12), "hip_twist": (-5, 20), "knee": (2, 16), "ankle": (-5, 10),
}
# fmt: on


@dataclasses.dataclass(frozen=True)
class Action:
    """One kind of movement.

    Attributes:
        ranges: Channel to its range, degrees.
        hold_s: Range of the time between two key poses.
        gait_hz: Step frequency range; 0 when the feet do not step.
        stride: Amplitude of the hips in a step, degrees.
        turn_deg_s: Largest rate of turning on the spot.
        beat_hz: Frequency of the beat that `beat` adds to channels of the leading arm.
        beat: Channel to amplitude of that beat, degrees.
        hop: Height of hops, leg lengths.
        likeness: How far the left and the right side do the same: 0 not at all, 1 in everything.
    """

    ranges: dict[str, Range]
    hold_s: Range = (0.5, 1.1)
    gait_hz: Range = (0.0, 0.0)
    stride: Range = (0.0, 0.0)
    turn_deg_s: float = 40.0
    beat_hz: float = 0.0
    beat: dict[str, float] = dataclasses.field(default_factory=dict)
    hop: float = 0.0
    likeness: float = 0.0


# fmt: off
ACTIONS: dict[str, Action] = {
    "walking": Action(
        {"elbow": (5, 50)},
        gait_hz=(0.7, 1.1), stride=(20, 32), turn_deg_s=70,
    ),
    "marching": Action(
        {"elbow": (40, 100), "shoulder_flex": (-10, 40)},
        gait_hz=(0.7, 1.0), stride=(35, 55), turn_deg_s=60,
    ),
    "reaching": Action(
        {"shoulder_flex": (0, 90), "lead_shoulder_flex": (50, 165), "lead_shoulder_abd": (0, 60),
         "lead_elbow": (0, 50), "spine_flex": (-10, 40), "spine_twist": (-40, 40)},
    ),
    "sitting": Action(
        {"hip_flex": (75, 105), "knee": (70, 110), "hip_abd": (4, 25), "spine_flex": (-5, 35),
         "shoulder_flex": (-10, 70), "elbow": (20, 120), "shoulder_twist": (-60, 50)},
        likeness=0.6,
    ),
    "floor": Action(
        {"hip_flex": (70, 110), "knee": (5, 115), "hip_abd": (5, 40), "spine_flex": (0, 40),
         "pelvis_pitch": (-5, 25), "shoulder_flex": (-30, 70), "elbow": (5, 80)},
        turn_deg_s=25, likeness=0.4,
    ),
    "squatting": Action(
        {"hip_flex": (30, 115), "knee": (50, 125), "hip_abd": (8, 30), "pelvis_pitch": (-25, 0),
         "shoulder_flex": (0, 95), "elbow": (5, 90)},
        likeness=0.7,
    ),
    "lunging": Action(
        {"lead_hip_flex": (45, 90), "lead_knee": (55, 105), "hip_flex": (-25, 0),
         "knee": (10, 70), "shoulder_flex": (-30, 80), "shoulder_abd": (5, 70),
         "pelvis_pitch": (-15, 5)},
    ),
    "waving": Action(
        {"lead_shoulder_abd": (70, 165), "lead_elbow": (20, 100), "spine_side": (-15, 15)},
        beat_hz=1.6, beat={"elbow": 28, "shoulder_abd": 12},
    ),
    "kicking": Action(
        {"lead_hip_flex": (-25, 95), "lead_knee": (5, 75), "lead_hip_abd": (0, 35),
         "shoulder_abd": (10, 80), "elbow": (10, 100), "pelvis_pitch": (-5, 15)},
        hold_s=(0.35, 0.8),
    ),
    "boxing": Action(
        {"shoulder_flex": (10, 95), "shoulder_abd": (5, 45), "elbow": (10, 140),
         "hip_flex": (0, 40), "knee": (10, 50), "spine_twist": (-45, 45), "spine_flex": (0, 30)},
        hold_s=(0.3, 0.6),
    ),
    "bending": Action(
        {"spine_flex": (5, 55), "pelvis_pitch": (-55, -5), "hip_flex": (-15, 30), "knee": (0, 50),
         "shoulder_flex": (10, 120), "elbow": (0, 60)},
    ),
    "stretching": Action(
        {"shoulder_flex": (-30, 60), "shoulder_abd": (40, 170), "elbow": (0, 90),
         "spine_side": (-30, 30), "spine_flex": (-25, 20), "spine_twist": (-40, 40)},
    ),
    "dancing": Action(
        {"shoulder_flex": (-40, 140), "shoulder_abd": (5, 120), "elbow": (5, 120),
         "hip_flex": (-10, 45), "knee": (5, 65), "hip_abd": (0, 30), "spine_side": (-20, 20),
         "spine_twist": (-35, 35)},
        hold_s=(0.35, 0.8), gait_hz=(0.6, 1.1), stride=(5, 20), turn_deg_s=150,
    ),
    "phoning": Action(
        {"lead_shoulder_flex": (20, 60), "lead_shoulder_abd": (10, 40), "lead_elbow": (115, 145),
         "shoulder_flex": (-20, 60), "elbow": (5, 110)},
        gait_hz=(0.5, 0.9), stride=(0, 22),
    ),
    "carrying": Action(
        {"shoulder_flex": (10, 60), "shoulder_abd": (2, 15), "elbow": (50, 110),
         "shoulder_twist": (-50, -10), "spine_flex": (-10, 35)},
        gait_hz=(0.6, 0.9), stride=(8, 24),
    ),
    "jumping": Action(
        {"shoulder_abd": (10, 165), "shoulder_flex": (-20, 60), "hip_flex": (0, 55),
         "knee": (5, 80), "hip_abd": (2, 35), "elbow": (5, 70)},
        hold_s=(0.3, 0.6), hop=0.22, likeness=0.5,
    ),
}
# fmt: on
