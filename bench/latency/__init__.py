"""How long methods take, and how sure that is.

What is measured (`setting`), where it runs (`session`, one fresh process per method: `worker`) and how it is timed
(`clocks`) are apart. Raw samples are kept (`stored`), and everything a table says is derived from them (`samples`).
"""
