"""What reads models in a worker process: a file for each kind, of one shape. They import nothing of sqlinfer.

load(path, file) -> model      path: the model's folder, or the file itself; file: its name in the folder, or ""
model.predict(batch)           batch: a DataFrame for STRUCTs, else a list; as many results
model.probabilities(batch)     if it has some: a DataFrame of label and probability, for a result that is a STRUCT
model.signature()              if it knows: SQL types by column as `input`, or the type of a `list`; the columns of
                               `not_null`; a `sample` of an input that it takes, else the type that it `returns`
"""
