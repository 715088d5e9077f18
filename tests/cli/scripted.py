"""An engine whose trials take no time, for commands that run trials: the loss follows from the settings."""

from holter.experiments.trial import TrialOutcome, TrialResult


class Scripted:
    def __init__(self, carries=lambda settings: settings.get("fault") == 1, *, ends=None):
        self.carries, self.ends, self.trials = carries, ends or (lambda settings: None), []

    def run(self, trials):
        for index, trial in enumerate(trials):
            self.trials.append(trial)
            ending = self.ends(trial.overrides)
            if ending is not None:
                yield index, TrialResult(outcome=ending, error="RuntimeError: boom")
                continue
            loss = 45.0 if self.carries(trial.overrides) else 5.6
            series = {"loss": [(1, loss), (2, loss)], "grad_norm": [(1, loss), (2, loss)]}
            yield index, TrialResult(outcome=TrialOutcome.FINISHED, series=series, fingerprints=("a", "b"))


class Interrupted(Scripted):
    """Ctrl-C after so many trials."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def run(self, trials):
        for index, result in super().run(trials):
            if len(self.trials) > self.after:
                raise KeyboardInterrupt
            yield index, result
