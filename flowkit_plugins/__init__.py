"""What flowkit brings along. Each is a guest like any stranger's plugin; none imports another.

| plugin | what the user gets |
| --- | --- |
| ``essentials`` | ``run``, ``log``, ``tmp_path``, ``out``, ``rng``, ``scheduled_at`` |
| ``capture`` | output and logs of each attempt |
| ``retry`` | ``retries=`` |
| ``timeout`` | ``timeout=`` |
| ``limit`` | ``limit=`` |
| ``history`` | ``--resume``, ``--lf``, ``--ff``, ``--pdb``, ``flowkit runs``, ``show``, ``logs``, ``why``, ``set``, ``repro`` |
| ``schedule`` | ``schedule=``, ``timezone=``, ``catchup=`` of a flow, ``flowkit next`` |
| ``drawing`` | ``flowkit graph`` |
| ``scaffold`` | ``flowkit new`` |
| ``strict`` | ``--strict`` |
| ``testing`` | ``effect=``, ``strategy=``, ``expect=``, ``--faults``, ``flowkit test`` |
| ``junitxml`` | ``--junitxml FILE`` |
| ``jsonlines`` | ``--json`` |
| ``html`` | ``--html FILE`` |
| ``terminal`` | what is printed during and after a run |
"""

#: In the order in which they are loaded; of two hooks the one loaded later is called first.
BUILT_IN = (
    "essentials",
    "capture",
    "retry",
    "timeout",
    "limit",
    "cache",
    "history",
    "schedule",
    "drawing",
    "scaffold",
    "strict",
    "testing",
    "junitxml",
    "jsonlines",
    "html",
    "terminal",
)
