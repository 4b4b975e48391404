"""joblib's ``Parallel`` on the workers of ``procession.Executor``: one that dies costs a retry, and not the run.

::

    import procession.joblib

    procession.joblib.register()
    with joblib.parallel_config(backend="procession", n_jobs=4):
        joblib.Parallel()(joblib.delayed(work)(x) for x in xs)
"""

from __future__ import annotations

import os
from concurrent.futures import Future
from typing import Any

from joblib import register_parallel_backend
from joblib._parallel_backends import AutoBatchingMixin, ParallelBackendBase

from ._executor import Executor


class ProcessionBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """Runs joblib's batches in an ``Executor``. ``retries`` is how often one is begun again whose worker died."""

    supports_retrieve_callback = True
    uses_threads = False
    supports_sharedmem = False

    def __init__(self, *args: Any, retries: int = 1, context: str = "forkserver", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._retries = retries
        self._context = context
        self._executor: Executor | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many workers ``n_jobs`` means: -1 is one for each CPU."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max(1, len(os.sched_getaffinity(0)) + 1 + n_jobs)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        """Make the executor."""
        n_jobs = self.effective_n_jobs(n_jobs)
        self.parallel = parallel
        self._executor = Executor(n_jobs, retries=self._retries, context=self._context)
        return n_jobs

    def submit(self, func: Any, callback: Any = None) -> Future[Any]:
        """Have a batch run."""
        assert self._executor is not None
        future = self._executor.submit(func)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    apply_async = submit

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """The results of a batch that is done."""
        return out.result()

    def terminate(self) -> None:
        """End the workers."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """End the workers, and make new ones if there is more to do."""
        self.terminate()
        if ensure_ready:
            self.configure(n_jobs=self.parallel.n_jobs, parallel=self.parallel)


def register() -> None:
    """Make the backend known to joblib, as ``"procession"``."""
    register_parallel_backend("procession", ProcessionBackend)
