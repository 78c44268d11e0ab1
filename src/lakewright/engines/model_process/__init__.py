"""The model process: one version of one model, loaded alone, answering rows with predictions.

It is started by the control plane, which never loads a model itself: unpickling somebody's model is running
somebody's code. Nothing here imports the server, so the process is as small as the model allows.

    payload      what a caller sends: dataframe_split, dataframe_records, inputs, instances -> columns
    signature    what the model was logged with; columns become typed arrays or the caller is told which field is wrong
    predictor    the model itself, called the cheapest way that provably gives the answers of MLflow's own way
    batching     requests that arrive together are predicted together
    wire         HTTP/1.1 on a loopback port, guarded by a secret
"""
