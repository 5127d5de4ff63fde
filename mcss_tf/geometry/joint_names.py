"""What joints are called elsewhere, and how joints that a source lacks are derived.

Every approximation, in the words of `skeleton.HUMAN36M_17`:
    pelvis   midpoint of the hips where there are hips (the root of CMU's BVH lies 26 mm below it).
    thorax   midpoint of the shoulders, a few centimetres from Human3.6M's joint at the base of the neck and
             rising with raised arms; without shoulders the neck.
    spine    midpoint of pelvis and thorax, so a bent back is straightened; CMU: of abdomen and chest.
    neck     Human3.6M's "neck/nose": the nose where there is one, else the middle of the head, else the
             (upper) neck; CMU: midpoint of the base of the skull and the eyes.
    head     top of the head. COCO and BODY_25 have none: ears + 0.6 (ears - thorax), for an upright head
             a few centimetres off; CMU: mid-eyes + (head - neck), which lies about 3 cm high and in front.
"""

# OpenPose, https://github.com/CMU-Perceptual-Computing-Lab/openpose: BODY_25 and the experimental BODY_25B.
BODY_25 = (
    *("Nose", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist", "MidHip"),
    *("RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle", "REye", "LEye", "REar", "LEar"),
    *("LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel"),
)
BODY_25B = (
    *("Nose", "LEye", "REye", "LEar", "REar", "LShoulder", "RShoulder", "LElbow", "RElbow"),
    *("LWrist", "RWrist", "LHip", "RHip", "LKnee", "RKnee", "LAnkle", "RAnkle", "UpperNeck", "HeadTop"),
    *("LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel"),
)
COCO_17 = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)

# CMU Panoptic, http://domedb.perception.cs.cmu.edu: the joints19 of hdPose3d_stage1_coco19.
COCO_19 = (
    *("Neck", "Nose", "BodyCenter", "lShoulder", "lElbow", "lWrist", "lHip", "lKnee", "lAnkle"),
    *("rShoulder", "rElbow", "rWrist", "rHip", "rKnee", "rAnkle", "lEye", "lEar", "rEye", "rEar"),
)
# Human3.6M's motion capture: several joints lie on others (the ends of clavicles on the thorax).
HUMAN36M_32 = (
    *("pelvis", "right_hip", "right_knee", "right_ankle", "right_toe_base", "right_toe_end"),
    *("left_hip", "left_knee", "left_ankle", "left_toe_base", "left_toe_end"),
    *("spine_base", "spine", "thorax", "neck", "head"),
    *("left_clavicle", "left_shoulder", "left_elbow", "left_wrist"),
    *("left_thumb_base", "left_thumb_end", "left_hand_base", "left_hand_end"),
    *("right_clavicle", "right_shoulder", "right_elbow", "right_wrist"),
    *("right_thumb_base", "right_thumb_end", "right_hand_base", "right_hand_end"),
)
# MPI-INF-3DHP; its "neck" is the base of the neck and its "head" the middle of the head, so they are named
# so here: taken for Human3.6M's joints of those names they would be 10 cm off.
MPI_INF_3DHP_28 = (
    *("spine3", "spine4", "spine2", "spine", "pelvis", "neck_base", "mid_head", "head_top"),
    *("left_clavicle", "left_shoulder", "left_elbow", "left_wrist", "left_hand"),
    *("right_clavicle", "right_shoulder", "right_elbow", "right_wrist", "right_hand"),
    *("left_hip", "left_knee", "left_ankle", "left_foot", "left_toe"),
    *("right_hip", "right_knee", "right_ankle", "right_foot", "right_toe"),
)
# Its "relevant" joints, in the order of the official test set.
MPI_INF_3DHP_17 = (
    *("head_top", "neck_base", "right_shoulder", "right_elbow", "right_wrist"),
    *("left_shoulder", "left_elbow", "left_wrist", "right_hip", "right_knee", "right_ankle"),
    *("left_hip", "left_knee", "left_ankle", "pelvis", "spine", "mid_head"),
)

# Normalised names (lower case, letters and digits only) of one joint.
ALIASES: dict[str, tuple[str, ...]] = {
    "pelvis": ("pelvis", "midhip", "chip", "hip", "hips", "bodycenter"),
    "right_hip": ("righthip", "rhip", "rthigh"),
    "right_knee": ("rightknee", "rknee", "rshin"),
    "right_ankle": ("rightankle", "rankle", "rfoot"),
    "left_hip": ("lefthip", "lhip", "lthigh"),
    "left_knee": ("leftknee", "lknee", "lshin"),
    "left_ankle": ("leftankle", "lankle", "lfoot"),
    "spine": ("spine",),
    "thorax": ("thorax",),
    "neck": ("necknose",),
    "upper_neck": ("upperneck", "neck"),
    "neck_base": ("neckbase",),
    "mid_head": ("midhead",),
    "nose": ("nose",),
    "head": ("headtop", "head"),
    "left_shoulder": ("leftshoulder", "lshoulder", "lshldr"),
    "left_elbow": ("leftelbow", "lelbow", "lforearm"),
    "left_wrist": ("leftwrist", "lwrist", "lhand"),
    "right_shoulder": ("rightshoulder", "rshoulder", "rshldr"),
    "right_elbow": ("rightelbow", "relbow", "rforearm"),
    "right_wrist": ("rightwrist", "rwrist", "rhand"),
    "left_eye": ("lefteye", "leye"),
    "right_eye": ("righteye", "reye"),
    "left_ear": ("leftear", "lear"),
    "right_ear": ("rightear", "rear"),
}

# Weighted sums, tried in order; the joint's own name in its sum means "measured as such".
RECIPES: dict[str, tuple[dict[str, float], ...]] = {
    "pelvis": ({"left_hip": 0.5, "right_hip": 0.5}, {"pelvis": 1.0}),
    "thorax": (
        {"thorax": 1.0},
        {"neck_base": 1.0},
        {"left_shoulder": 0.5, "right_shoulder": 0.5},
        {"upper_neck": 1.0},
    ),
    "spine": ({"spine": 1.0}, {"pelvis": 0.5, "thorax": 0.5}),
    "neck": ({"neck": 1.0}, {"nose": 1.0}, {"mid_head": 1.0}, {"upper_neck": 1.0}),
    "head": ({"head": 1.0}, {"left_ear": 0.8, "right_ear": 0.8, "thorax": -0.6}),
}

# In CMU's BVH "neck" and "head" are the base of the neck and of the skull. Recognised by `CMU_BVH_MARKS`.
CMU_BVH_MARKS = frozenset({"rshldr", "lshldr", "abdomen", "chest"})
CMU_BVH_RECIPES: dict[str, tuple[dict[str, float], ...]] = {
    "spine": ({"abdomen": 0.5, "chest": 0.5},),
    "neck": ({"skull": 0.5, "left_eye": 0.25, "right_eye": 0.25},),
    "head": ({"left_eye": 0.5, "right_eye": 0.5, "skull": 1.0, "upper_neck": -1.0},),
}
CMU_BVH_ALIASES: dict[str, tuple[str, ...]] = {
    "abdomen": ("abdomen",),
    "chest": ("chest",),
    "skull": ("head",),
}


def normalise(name: str) -> str:
    """Returns a joint name in lower case, letters and digits only."""
    return "".join(character for character in name.lower() if character.isalnum())
