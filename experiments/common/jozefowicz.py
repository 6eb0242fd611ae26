"""The networks and the results of Jozefowicz, Zaremba and Sutskever (2015)."""

# Each network of the paper, and the cell of seqjax that it is. LSTM starts with forget bias 0, LSTM-b
# with 1; LSTM-f, LSTM-i and LSTM-o lack the forget, the input and the output gate.
NETWORKS = {
    "tanh": "rnn",
    "LSTM": "lstm",
    "LSTM-f": "lstm_no_forget_gate",
    "LSTM-i": "lstm_no_input_gate",
    "LSTM-o": "lstm_no_output_gate",
    "LSTM-b": "lstm",
    "GRU": "gru_reset_before",
    "MUT1": "mut1",
    "MUT2": "mut2",
    "MUT3": "mut3",
}

# Table 1: next-step accuracy on Arithmetic, XML and the words of the Penn Treebank.
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
