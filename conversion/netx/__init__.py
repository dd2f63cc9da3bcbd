"""What lava-dl's NetX can hold."""
