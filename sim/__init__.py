"""Simulators of NIR files: a vectorised reference, and Lava."""

if __name__ == "sim":  # found by its bare name, in a checkout
    from neurotarget.checkout import stand_for

    stand_for(__name__)
