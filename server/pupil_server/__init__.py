"""Bundles in, gRPC out: the server of Pupil. It never imports torch.

A call on its way, and what stands beside it:

    fronts, nghttp2, grpc_front              bytes from the network to a call, and its answer back
    operations, http_server, posts           probes and metrics over HTTP
    gateway, multipart                       and images, where that is asked for
    call, method, table                      what a handler knows of its caller; every RPC
    dispatch, deadlines, streams             what happens around each, whatever front carries it
    turn, eager, alarm                       how little of the event loop that takes
    tokens, quotas, tls, reloaded            who may call, and how much; the files that say so
    inference, pseudo_label, oip, health     the handlers: images
    cascade, cascade_certificates            the student before its teacher, under a promise
    cascade_evidence, goals, pairs           from what both said of the same images
    model_handlers, watch_handlers           the handlers: models
    seen_handler                             and what they were trained on
    at_once, envelopes, wire                 plain requests, answered in the turn in which they came
    model, door, admission, priority         one loaded model: who comes in
    reading, decoding, images                from messages and files to pixels
    batching, queue, work, pace              from requests to batches
    session, onnx_session, providers         the graph on its device
    cuda_binding, processor                  what the device is like
    answers, certificates                    from scores and promises to messages

    repository, transitions, loading         the models that are loaded, and how they come and go
    folder, versions, aliases, policy        the folder of bundles: what is there, what is wanted
    following                                what changes in it
    bundle, bundle_facts                     one bundle
    live                                     the watch over students while they serve
    liveness, watchdog                       whether the process is alive
    metrics, tallies, statistics, observer   what it counts
    logs, access_log, tracing                what it tells
    server, lifecycle, listening             all of it put together, from the start to the end
    workers                                  several such processes behind one port
    settings, resources, errors, whole       what everybody uses
    cli, token_cli, tune, tune_cli           the commands
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read while ONNX Runtime loads: what is served stays here
