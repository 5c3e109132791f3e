"""The demo: a small convolutional network learns to read real handwritten digits.

`data` finds and splits the digits, `model` is the network, `training` the loop and its checkpoint,
`report` (with `charts` and `report.html`) the page it ends with, `command` the command line.
"""
