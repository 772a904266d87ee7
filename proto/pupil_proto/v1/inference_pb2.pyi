from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CascadeGoal(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CASCADE_GOAL_UNSPECIFIED: _ClassVar[CascadeGoal]
    CASCADE_GOAL_DISAGREEMENT: _ClassVar[CascadeGoal]
    CASCADE_GOAL_WORSE: _ClassVar[CascadeGoal]
    CASCADE_GOAL_ACCURACY: _ClassVar[CascadeGoal]

class Route(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROUTE_UNSPECIFIED: _ClassVar[Route]
    ROUTE_STUDENT: _ClassVar[Route]
    ROUTE_TEACHER: _ClassVar[Route]
    ROUTE_STUDENT_OVERLOADED: _ClassVar[Route]
    ROUTE_STUDENT_LATE: _ClassVar[Route]
    ROUTE_STUDENT_UNAVAILABLE: _ClassVar[Route]

class Guarantee(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GUARANTEE_UNSPECIFIED: _ClassVar[Guarantee]
    GUARANTEE_PAC: _ClassVar[Guarantee]
    GUARANTEE_FDR: _ClassVar[Guarantee]
    GUARANTEE_FIXED: _ClassVar[Guarantee]
    GUARANTEE_NONE: _ClassVar[Guarantee]
CASCADE_GOAL_UNSPECIFIED: CascadeGoal
CASCADE_GOAL_DISAGREEMENT: CascadeGoal
CASCADE_GOAL_WORSE: CascadeGoal
CASCADE_GOAL_ACCURACY: CascadeGoal
ROUTE_UNSPECIFIED: Route
ROUTE_STUDENT: Route
ROUTE_TEACHER: Route
ROUTE_STUDENT_OVERLOADED: Route
ROUTE_STUDENT_LATE: Route
ROUTE_STUDENT_UNAVAILABLE: Route
GUARANTEE_UNSPECIFIED: Guarantee
GUARANTEE_PAC: Guarantee
GUARANTEE_FDR: Guarantee
GUARANTEE_FIXED: Guarantee
GUARANTEE_NONE: Guarantee

class ModelSpec(_message.Message):
    __slots__ = ("name", "version", "alias", "precision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    alias: str
    precision: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., alias: _Optional[str] = ..., precision: _Optional[str] = ...) -> None: ...

class Images(_message.Message):
    __slots__ = ("encoded", "pixels")
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    PIXELS_FIELD_NUMBER: _ClassVar[int]
    encoded: _containers.RepeatedScalarFieldContainer[bytes]
    pixels: Pixels
    def __init__(self, encoded: _Optional[_Iterable[bytes]] = ..., pixels: _Optional[_Union[Pixels, _Mapping]] = ...) -> None: ...

class Pixels(_message.Message):
    __slots__ = ("data", "count", "height", "width", "channels")
    DATA_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    count: int
    height: int
    width: int
    channels: int
    def __init__(self, data: _Optional[bytes] = ..., count: _Optional[int] = ..., height: _Optional[int] = ..., width: _Optional[int] = ..., channels: _Optional[int] = ...) -> None: ...

class ClassifyRequest(_message.Message):
    __slots__ = ("model", "images", "top_k", "scores", "cascade")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    CASCADE_FIELD_NUMBER: _ClassVar[int]
    model: ModelSpec
    images: Images
    top_k: int
    scores: bool
    cascade: Cascade
    def __init__(self, model: _Optional[_Union[ModelSpec, _Mapping]] = ..., images: _Optional[_Union[Images, _Mapping]] = ..., top_k: _Optional[int] = ..., scores: bool = ..., cascade: _Optional[_Union[Cascade, _Mapping]] = ...) -> None: ...

class ClassifyResponse(_message.Message):
    __slots__ = ("predictions", "answered_by", "error", "routes", "teacher", "certificate")
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_BY_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    TEACHER_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    predictions: _containers.RepeatedCompositeFieldContainer[Prediction]
    answered_by: AnsweredBy
    error: Error
    routes: _containers.RepeatedScalarFieldContainer[Route]
    teacher: AnsweredBy
    certificate: CascadeCertificate
    def __init__(self, predictions: _Optional[_Iterable[_Union[Prediction, _Mapping]]] = ..., answered_by: _Optional[_Union[AnsweredBy, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ..., routes: _Optional[_Iterable[_Union[Route, str]]] = ..., teacher: _Optional[_Union[AnsweredBy, _Mapping]] = ..., certificate: _Optional[_Union[CascadeCertificate, _Mapping]] = ...) -> None: ...

class Cascade(_message.Message):
    __slots__ = ("teacher", "goal", "limit", "delta", "student_alone")
    TEACHER_FIELD_NUMBER: _ClassVar[int]
    GOAL_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    STUDENT_ALONE_FIELD_NUMBER: _ClassVar[int]
    teacher: ModelSpec
    goal: CascadeGoal
    limit: float
    delta: float
    student_alone: bool
    def __init__(self, teacher: _Optional[_Union[ModelSpec, _Mapping]] = ..., goal: _Optional[_Union[CascadeGoal, str]] = ..., limit: _Optional[float] = ..., delta: _Optional[float] = ..., student_alone: bool = ...) -> None: ...

class CascadeCertificate(_message.Message):
    __slots__ = ("goal", "limit", "delta", "threshold", "calibration", "lost", "deferred", "p_value", "student", "teacher")
    GOAL_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    DEFERRED_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    STUDENT_FIELD_NUMBER: _ClassVar[int]
    TEACHER_FIELD_NUMBER: _ClassVar[int]
    goal: CascadeGoal
    limit: float
    delta: float
    threshold: float
    calibration: int
    lost: int
    deferred: float
    p_value: float
    student: str
    teacher: str
    def __init__(self, goal: _Optional[_Union[CascadeGoal, str]] = ..., limit: _Optional[float] = ..., delta: _Optional[float] = ..., threshold: _Optional[float] = ..., calibration: _Optional[int] = ..., lost: _Optional[int] = ..., deferred: _Optional[float] = ..., p_value: _Optional[float] = ..., student: _Optional[str] = ..., teacher: _Optional[str] = ...) -> None: ...

class Prediction(_message.Message):
    __slots__ = ("top", "scores")
    TOP_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    top: _containers.RepeatedCompositeFieldContainer[ScoredClass]
    scores: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, top: _Optional[_Iterable[_Union[ScoredClass, _Mapping]]] = ..., scores: _Optional[_Iterable[float]] = ...) -> None: ...

class ScoredClass(_message.Message):
    __slots__ = ("label", "index", "score")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    label: str
    index: int
    score: float
    def __init__(self, label: _Optional[str] = ..., index: _Optional[int] = ..., score: _Optional[float] = ...) -> None: ...

class AnsweredBy(_message.Message):
    __slots__ = ("model", "version", "precision", "fingerprint", "queue_seconds", "compute_seconds")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    QUEUE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    precision: str
    fingerprint: str
    queue_seconds: float
    compute_seconds: float
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., precision: _Optional[str] = ..., fingerprint: _Optional[str] = ..., queue_seconds: _Optional[float] = ..., compute_seconds: _Optional[float] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class LabelPlan(_message.Message):
    __slots__ = ("model", "guarantee", "precision", "delta", "threshold", "scores", "calibration")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    GUARANTEE_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    model: ModelSpec
    guarantee: Guarantee
    precision: float
    delta: float
    threshold: float
    scores: bool
    calibration: bool
    def __init__(self, model: _Optional[_Union[ModelSpec, _Mapping]] = ..., guarantee: _Optional[_Union[Guarantee, str]] = ..., precision: _Optional[float] = ..., delta: _Optional[float] = ..., threshold: _Optional[float] = ..., scores: bool = ..., calibration: bool = ...) -> None: ...

class PseudoLabelRequest(_message.Message):
    __slots__ = ("plan", "images")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    plan: LabelPlan
    images: Images
    def __init__(self, plan: _Optional[_Union[LabelPlan, _Mapping]] = ..., images: _Optional[_Union[Images, _Mapping]] = ...) -> None: ...

class PseudoLabelResponse(_message.Message):
    __slots__ = ("labels", "certificate", "answered_by", "calibration")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_BY_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedCompositeFieldContainer[PseudoLabel]
    certificate: Certificate
    answered_by: AnsweredBy
    calibration: CalibrationAnswers
    def __init__(self, labels: _Optional[_Iterable[_Union[PseudoLabel, _Mapping]]] = ..., certificate: _Optional[_Union[Certificate, _Mapping]] = ..., answered_by: _Optional[_Union[AnsweredBy, _Mapping]] = ..., calibration: _Optional[_Union[CalibrationAnswers, _Mapping]] = ...) -> None: ...

class CalibrationAnswers(_message.Message):
    __slots__ = ("confidence", "predicted")
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIELD_NUMBER: _ClassVar[int]
    confidence: _containers.RepeatedScalarFieldContainer[float]
    predicted: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, confidence: _Optional[_Iterable[float]] = ..., predicted: _Optional[_Iterable[int]] = ...) -> None: ...

class PseudoLabel(_message.Message):
    __slots__ = ("prediction", "accepted", "error")
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    prediction: Prediction
    accepted: bool
    error: Error
    def __init__(self, prediction: _Optional[_Union[Prediction, _Mapping]] = ..., accepted: bool = ..., error: _Optional[_Union[Error, _Mapping]] = ...) -> None: ...

class Certificate(_message.Message):
    __slots__ = ("guarantee", "precision", "delta", "threshold", "calibration", "accepted", "wrong", "p_value", "fingerprint", "coverage")
    GUARANTEE_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    WRONG_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    guarantee: Guarantee
    precision: float
    delta: float
    threshold: float
    calibration: int
    accepted: int
    wrong: int
    p_value: float
    fingerprint: str
    coverage: float
    def __init__(self, guarantee: _Optional[_Union[Guarantee, str]] = ..., precision: _Optional[float] = ..., delta: _Optional[float] = ..., threshold: _Optional[float] = ..., calibration: _Optional[int] = ..., accepted: _Optional[int] = ..., wrong: _Optional[int] = ..., p_value: _Optional[float] = ..., fingerprint: _Optional[str] = ..., coverage: _Optional[float] = ...) -> None: ...

class CompareRequest(_message.Message):
    __slots__ = ("student", "teacher", "images", "top_k", "scores")
    STUDENT_FIELD_NUMBER: _ClassVar[int]
    TEACHER_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    student: ModelSpec
    teacher: ModelSpec
    images: Images
    top_k: int
    scores: bool
    def __init__(self, student: _Optional[_Union[ModelSpec, _Mapping]] = ..., teacher: _Optional[_Union[ModelSpec, _Mapping]] = ..., images: _Optional[_Union[Images, _Mapping]] = ..., top_k: _Optional[int] = ..., scores: bool = ...) -> None: ...

class CompareResponse(_message.Message):
    __slots__ = ("comparisons", "agreement", "mean_kl", "student", "teacher")
    COMPARISONS_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    MEAN_KL_FIELD_NUMBER: _ClassVar[int]
    STUDENT_FIELD_NUMBER: _ClassVar[int]
    TEACHER_FIELD_NUMBER: _ClassVar[int]
    comparisons: _containers.RepeatedCompositeFieldContainer[Comparison]
    agreement: float
    mean_kl: float
    student: AnsweredBy
    teacher: AnsweredBy
    def __init__(self, comparisons: _Optional[_Iterable[_Union[Comparison, _Mapping]]] = ..., agreement: _Optional[float] = ..., mean_kl: _Optional[float] = ..., student: _Optional[_Union[AnsweredBy, _Mapping]] = ..., teacher: _Optional[_Union[AnsweredBy, _Mapping]] = ...) -> None: ...

class Comparison(_message.Message):
    __slots__ = ("student", "teacher", "agree", "kl")
    STUDENT_FIELD_NUMBER: _ClassVar[int]
    TEACHER_FIELD_NUMBER: _ClassVar[int]
    AGREE_FIELD_NUMBER: _ClassVar[int]
    KL_FIELD_NUMBER: _ClassVar[int]
    student: Prediction
    teacher: Prediction
    agree: bool
    kl: float
    def __init__(self, student: _Optional[_Union[Prediction, _Mapping]] = ..., teacher: _Optional[_Union[Prediction, _Mapping]] = ..., agree: bool = ..., kl: _Optional[float] = ...) -> None: ...
