"""What a recorded run did: operations, events, memory accesses, by layer."""
