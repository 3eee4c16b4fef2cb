"""How fast a redirector is: beside a rival's generator, layer by layer, and beside this core."""
