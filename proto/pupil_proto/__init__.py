"""The wire contract of Pupil: one folder a version, each .proto with its generated code beside it."""
