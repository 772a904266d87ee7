from pupil_proto.v1 import inference_pb2 as _inference_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATE_UNSPECIFIED: _ClassVar[State]
    STATE_UNLOADED: _ClassVar[State]
    STATE_LOADING: _ClassVar[State]
    STATE_READY: _ClassVar[State]
    STATE_UNLOADING: _ClassVar[State]
    STATE_FAILED: _ClassVar[State]
STATE_UNSPECIFIED: State
STATE_UNLOADED: State
STATE_LOADING: State
STATE_READY: State
STATE_UNLOADING: State
STATE_FAILED: State

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelInfo]
    def __init__(self, models: _Optional[_Iterable[_Union[ModelInfo, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: _inference_pb2.ModelSpec
    def __init__(self, model: _Optional[_Union[_inference_pb2.ModelSpec, _Mapping]] = ...) -> None: ...

class LoadModelRequest(_message.Message):
    __slots__ = ("name", "version", "keep_others", "aside")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KEEP_OTHERS_FIELD_NUMBER: _ClassVar[int]
    ASIDE_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    keep_others: bool
    aside: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., keep_others: bool = ..., aside: bool = ...) -> None: ...

class UnloadModelRequest(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class UnloadModelResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SetAliasRequest(_message.Message):
    __slots__ = ("name", "alias", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    alias: str
    version: int
    def __init__(self, name: _Optional[str] = ..., alias: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class SetAliasResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ModelInfo(_message.Message):
    __slots__ = ("name", "version", "state", "reason", "aliases", "classes", "height", "width", "channels", "precision", "device", "fingerprint", "teacher", "certificates", "created", "max_batch_images", "nodes", "precisions", "by_name")
    class NodesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    TEACHER_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_IMAGES_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    PRECISIONS_FIELD_NUMBER: _ClassVar[int]
    BY_NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    state: State
    reason: str
    aliases: _containers.RepeatedScalarFieldContainer[str]
    classes: _containers.RepeatedScalarFieldContainer[str]
    height: int
    width: int
    channels: int
    precision: str
    device: str
    fingerprint: str
    teacher: str
    certificates: _containers.RepeatedCompositeFieldContainer[_inference_pb2.Certificate]
    created: str
    max_batch_images: int
    nodes: _containers.ScalarMap[str, int]
    precisions: _containers.RepeatedScalarFieldContainer[str]
    by_name: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., state: _Optional[_Union[State, str]] = ..., reason: _Optional[str] = ..., aliases: _Optional[_Iterable[str]] = ..., classes: _Optional[_Iterable[str]] = ..., height: _Optional[int] = ..., width: _Optional[int] = ..., channels: _Optional[int] = ..., precision: _Optional[str] = ..., device: _Optional[str] = ..., fingerprint: _Optional[str] = ..., teacher: _Optional[str] = ..., certificates: _Optional[_Iterable[_Union[_inference_pb2.Certificate, _Mapping]]] = ..., created: _Optional[str] = ..., max_batch_images: _Optional[int] = ..., nodes: _Optional[_Mapping[str, int]] = ..., precisions: _Optional[_Iterable[str]] = ..., by_name: bool = ...) -> None: ...

class GetWatchRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: _inference_pb2.ModelSpec
    def __init__(self, model: _Optional[_Union[_inference_pb2.ModelSpec, _Mapping]] = ...) -> None: ...

class ResetWatchRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: _inference_pb2.ModelSpec
    def __init__(self, model: _Optional[_Union[_inference_pb2.ModelSpec, _Mapping]] = ...) -> None: ...

class Watch(_message.Message):
    __slots__ = ("model", "version", "precision", "fingerprint", "teacher", "compared", "disagreed", "disagreement_low", "disagreement_high", "mean_kl", "classes", "images", "evidence", "alarms", "lapsed")
    class EvidenceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    TEACHER_FIELD_NUMBER: _ClassVar[int]
    COMPARED_FIELD_NUMBER: _ClassVar[int]
    DISAGREED_FIELD_NUMBER: _ClassVar[int]
    DISAGREEMENT_LOW_FIELD_NUMBER: _ClassVar[int]
    DISAGREEMENT_HIGH_FIELD_NUMBER: _ClassVar[int]
    MEAN_KL_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    ALARMS_FIELD_NUMBER: _ClassVar[int]
    LAPSED_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    precision: str
    fingerprint: str
    teacher: str
    compared: int
    disagreed: int
    disagreement_low: float
    disagreement_high: float
    mean_kl: float
    classes: _containers.RepeatedCompositeFieldContainer[ClassAgreement]
    images: int
    evidence: _containers.ScalarMap[str, float]
    alarms: _containers.RepeatedScalarFieldContainer[str]
    lapsed: str
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., precision: _Optional[str] = ..., fingerprint: _Optional[str] = ..., teacher: _Optional[str] = ..., compared: _Optional[int] = ..., disagreed: _Optional[int] = ..., disagreement_low: _Optional[float] = ..., disagreement_high: _Optional[float] = ..., mean_kl: _Optional[float] = ..., classes: _Optional[_Iterable[_Union[ClassAgreement, _Mapping]]] = ..., images: _Optional[int] = ..., evidence: _Optional[_Mapping[str, float]] = ..., alarms: _Optional[_Iterable[str]] = ..., lapsed: _Optional[str] = ...) -> None: ...

class ClassAgreement(_message.Message):
    __slots__ = ("label", "compared", "agreed")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    COMPARED_FIELD_NUMBER: _ClassVar[int]
    AGREED_FIELD_NUMBER: _ClassVar[int]
    label: str
    compared: int
    agreed: int
    def __init__(self, label: _Optional[str] = ..., compared: _Optional[int] = ..., agreed: _Optional[int] = ...) -> None: ...

class SeenRequest(_message.Message):
    __slots__ = ("model", "images")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    model: _inference_pb2.ModelSpec
    images: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, model: _Optional[_Union[_inference_pb2.ModelSpec, _Mapping]] = ..., images: _Optional[_Iterable[int]] = ...) -> None: ...

class SeenResponse(_message.Message):
    __slots__ = ("trained_on", "labelled", "unlabelled", "missing")
    TRAINED_ON_FIELD_NUMBER: _ClassVar[int]
    LABELLED_FIELD_NUMBER: _ClassVar[int]
    UNLABELLED_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    trained_on: int
    labelled: _containers.RepeatedScalarFieldContainer[int]
    unlabelled: _containers.RepeatedScalarFieldContainer[int]
    missing: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, trained_on: _Optional[int] = ..., labelled: _Optional[_Iterable[int]] = ..., unlabelled: _Optional[_Iterable[int]] = ..., missing: _Optional[_Iterable[str]] = ...) -> None: ...
