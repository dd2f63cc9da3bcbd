"""Our Lava Processes and their models, in a folder of their own.

Lava imports every `.py` beside the module that defines a Process when it looks for models, so nothing else lives here.
"""
