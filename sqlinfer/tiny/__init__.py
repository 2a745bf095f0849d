"""The models that come with sqlinfer: their weights, the texts they learned from, training and evaluation.

Importing this loads no torch.
"""
