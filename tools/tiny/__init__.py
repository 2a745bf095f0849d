"""How the models that come with sqlinfer were made: the texts they learned from, training and evaluation.

Importing this loads no torch.
"""
