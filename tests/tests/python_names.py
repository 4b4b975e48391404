"""Prints the public names of multiprocessing, its submodules and concurrent.futures, one a line.

A name is a module, a dot, and what the module calls public: its `__all__`, and the classes and functions that it
defines. Members of classes follow, under the name of the class that defines them. Left out are `multiprocessing.dummy`
(threads), members of contexts that are names of `multiprocessing` itself, and platforms other than Linux.
"""
import importlib
import inspect
import multiprocessing

SUBMODULES = """connection context forkserver heap managers pool process queues reduction resource_sharer
resource_tracker shared_memory sharedctypes spawn synchronize util""".split()
MODULES = ["multiprocessing", *("multiprocessing." + name for name in SUBMODULES), "concurrent.futures"]


def public(module):
    listed = list(getattr(module, "__all__", ()))
    defined = [
        name for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and (inspect.isclass(value) or inspect.isfunction(value))
    ]
    return {name for name in [*listed, *defined] if not name.startswith("_")}


def is_ours(cls):
    return cls.__module__.split(".")[0] in ("multiprocessing", "concurrent")


found = set()
for path in MODULES:
    module = importlib.import_module(path)
    for name in public(module):
        value = getattr(module, name)
        found.add(f"{path}.{name}")
        if not inspect.isclass(value) or issubclass(value, BaseException):
            continue
        for cls in filter(is_ours, value.__mro__):
            for member in vars(cls):
                if member.startswith("_") or "Context" in cls.__name__ and hasattr(multiprocessing, member):
                    continue
                found.add(f"{cls.__module__}.{cls.__name__}.{member}".replace("futures._base.", "futures.").replace("futures.process.", "futures.").replace("futures.thread.", "futures."))
print("\n".join(sorted(found)))
