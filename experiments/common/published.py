"""Numbers of papers that more than one experiment sets beside its own."""

# Jozefowicz, Zaremba and Sutskever (2015), Table 1: next-step accuracy on Arithmetic, XML and the words
# of the Penn Treebank. LSTM has forget bias 0, LSTM-b has 1, the others lack one gate.
TABLE_1 = {
    "tanh": (0.295, 0.321, 0.0878),
    "LSTM": (0.892, 0.425, 0.0891),
    "LSTM-f": (0.293, 0.234, 0.0881),
    "LSTM-i": (0.751, 0.414, 0.0866),
    "LSTM-o": (0.867, 0.421, 0.0893),
    "LSTM-b": (0.902, 0.444, 0.0895),
    "GRU": (0.896, 0.460, 0.0907),
    "MUT1": (0.921, 0.475, 0.0897),
    "MUT2": (0.897, 0.473, 0.0904),
    "MUT3": (0.907, 0.465, 0.0916),
}
TABLE_1_TASKS = ("arithmetic", "xml", "words")
