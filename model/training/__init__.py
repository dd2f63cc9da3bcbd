"""Settings, checkpoints, run folders and the loop that training and distillation share."""
