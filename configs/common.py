"""Every setting of a run with its default; the configs beside this file change some of them.

What MCSS's authors state is marked [S] (Mitra et al., CVPR 2020); the rest is our choice.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the defaults."""
    config = ConfigDict()
    config.method = "mcss"
    config.seed = 0
    config.image_size = 0  # pixels; 0: the size of the dataset's crops

    config.backbone = ConfigDict()
    config.backbone.depth = 18  # [S]; 18, 34 or 50
    config.backbone.width = 64  # channels of its first stage; [S] 64, ImageNet's weights need that
    config.backbone.weights = ""  # .safetensors or .npz with torchvision's names; "": from scratch
    config.backbone.batch_norm_momentum = 0.9
    config.embedding = ConfigDict()
    config.embedding.hidden_dim = 512
    config.embedding.dim = 128  # [S]

    config.batch = ConfigDict()
    config.batch.num_pairs = 66
    # [S]: one positive per anchor; 4: half as many instants, in four views each (or as many as there are
    # cameras), and every two of them are a pair
    config.batch.views = 2
    # [S]; "mixed": the pairs of a batch are of any subject; "per_replica": each replica's are of one
    config.batch.subjects = "one"
    config.batch.num_labelled = 22  # [S]
    # With several replicas the counts above are those of all together, who share them.
    config.batch.mining = "global"  # negatives of a pair come from all replicas; "local": from its own
    config.batch.min_gap_s = "auto"  # seconds between instants of a batch; "auto": the largest up to 1
    config.labels = ConfigDict()
    config.labels.subjects = "all"  # whose 3D poses are used: all, none, or names like S1,S5
    config.labels.fraction = 1.0  # of their posed instants
    config.labels.seed = 0
    config.labels.target = "canonical"  # [S]; global or camera: axes of the world or of the camera
    config.data = ConfigDict()
    config.data.without_cameras = ""  # names of cameras that training does not see, like cam03,cam04

    # Largest random changes, drawn for every image on its own; all 0: none, as in the paper.
    config.augment = ConfigDict()
    config.augment.brightness = 0.0  # of full scale
    config.augment.contrast = 0.0  # relative
    config.augment.colour = 0.0  # relative, per channel
    config.augment.hue_deg = 0.0
    config.augment.blur_px = 0.0
    config.augment.rotation_deg = 0.0
    config.augment.scale = 0.0  # relative
    config.augment.translation = 0.0  # of the side
    config.augment.erase = 0.0  # probability
    config.augment.background = 0.0  # probability of another place behind the person; static cameras only
    config.augment.flip = 0.0  # probability, both images of a pair alike

    config.loss = ConfigDict()
    config.loss.metric_weight = 1.0  # 0: the paper's baseline, which sees labelled images only
    config.loss.pose_weight = 1.0
    config.loss.margin = 1.0
    config.loss.squared = False
    config.loss.softmax_weight = 0.0  # of a smooth loss over all negatives, which the paper does not have
    config.loss.temperature = 0.1  # its own
    # The threshold is 0 until the embeddings' spread exceeds threshold_spread, then ramps to its target.
    config.loss.threshold = 0.3
    config.loss.threshold_spread = 0.5
    config.loss.threshold_ramp_steps = 500
    # Below these an interval counts as collapsed; train.collapse_steps of them in a row stop the run.
    config.loss.collapse_spread = 0.02
    config.loss.collapse_admissible = 0.01

    # Part of the train split, held out to watch a run; the test split is never looked at. Off by default.
    config.validation = ConfigDict()
    config.validation.subjects = ""  # names like S7,S8
    config.validation.fraction = 0.0  # or a share of every training subject's sequences
    config.validation.seed = 0  # of which sequences
    config.validation.every_steps = 500
    config.validation.metric = ""  # model.keras is the best by this one, e.g. n_mpjpe_mm; "": the last
    config.validation.patience = 0  # validations without a better one after which the run ends; 0: none

    config.train = ConfigDict()
    config.train.init_from = ""  # workdir of a finished run to go on from with its weights
    config.train.steps = 0  # > 0: that many, whatever the epochs
    config.train.epochs = 40  # [S]
    config.train.learning_rate = 1e-3
    config.train.schedule = "step"  # x0.1 every drop_every_epochs, or "cosine" over the run
    config.train.drop_every_epochs = 20  # [S]
    config.train.drop_every_steps = 0  # > 0: that many, whatever the epochs
    config.train.warmup_epochs = 0.0
    config.train.warmup_steps = 0  # > 0: that many, whatever the epochs
    config.train.ema_decay = 0.0  # > 0: the final weights are this moving average
    config.train.precision = "auto"
    config.train.sync_batch_norm = False  # batch statistics of all replicas together
    config.train.log_every = 50
    config.train.checkpoint_every = 500
    config.train.pictures_every = 500
    config.train.collapse_steps = 200
    return config
