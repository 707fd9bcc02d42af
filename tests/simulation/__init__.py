"""A seeded simulator that tears at the real core, and the invariants that must hold whatever it does.

    world        one simulated life: clocks, people, services, a store that fails, crashes
    invariants   what must be true of the ledger, each by a name
    mutants      planted bugs that the invariants must find

`python -m tests.simulation SEED` replays one life and prints it.
"""
