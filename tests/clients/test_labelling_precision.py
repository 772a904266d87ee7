"""A job asks for one precision of a model's weights, and its rows tell which."""

from dataclasses import replace

import pytest

from pupil_client import Client
from pupil_client.labelling.job import Job, run
from pupil_client.labelling.promise import Promise
from pupil_client.labelling.rows import read_rows
from pupil_client.labelling.sources import open_source


class Stopped(Exception):
    pass


def stop(images):
    raise Stopped


def test_a_job_is_labelled_in_one_precision_which_its_rows_tell_and_in_no_other_it_goes_on(server, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(b"dog 1")
    with Client(server.address) as client:
        model = replace(client.model("student"), precision="int8")
        job = Job(open_source(tmp_path / "photos"), tmp_path / "labels.csv", model, Promise("pac", 0.9, 0.1), "here")
        with pytest.raises(Stopped):
            run(client, job, stop)
        said = r"begun with weights of int8, now asked is fp32; ask for .*:int8, or remove"
        with pytest.raises(ValueError, match=said):
            run(client, replace(job, model=replace(model, precision="fp32")), lambda images: None)
        run(client, job, lambda images: None)
    assert {plan.model.precision for plan in server.rules.plans[-2:]} == {"int8"}
    assert [row["precision"] for row in read_rows(tmp_path / "labels.csv")] == ["int8"]
