"""What Lava shall build: Processes, edges and numbers as plain arrays, without Lava."""
