"""What the networks are made of, and the networks beside SpikeSCR."""
