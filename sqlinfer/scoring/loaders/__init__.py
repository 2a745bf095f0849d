"""What reads models in a worker process: a file for each kind, of one shape. They import nothing of sqlinfer.

load(path, file) -> model      path: the model's folder, or the file itself; file: its name in the folder, or ""
model.predict(batch)           batch: a DataFrame for STRUCTs, else a list; as many results
model.signature()              if it knows: {"input": SQL type by column, "optional": [..], "returns": SQL type}
"""
