"""Spiking networks in PyTorch and their training."""

if __name__ == "model":  # found by its bare name, in a checkout
    from neurotarget.checkout import stand_for

    stand_for(__name__)
