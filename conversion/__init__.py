"""From a trained network to a NIR file, checked against PyTorch; from there to integers and to NetX."""

if __name__ == "conversion":  # found by its bare name, in a checkout
    from neurotarget.checkout import stand_for

    stand_for(__name__)
