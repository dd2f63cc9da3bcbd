"""What a network costs: exact counts, prices with sources, chips, meters, and the report."""

if __name__ == "hardware":  # found by its bare name, in a checkout
    from neurotarget.checkout import stand_for

    stand_for(__name__)
