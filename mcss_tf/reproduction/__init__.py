"""The experiments of MCSS, run, resumed and shown by one command; see `mcss_tf.reproduce`."""
