"""Seconds to import mixscope beyond torch, and to print the command line's help; each in a fresh process."""

import subprocess
import sys
import time

from _bench import parse_arguments, summarise, write_result


def run(*command):
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return time.perf_counter() - began


def main():
    arguments = parse_arguments(__doc__)
    everything = "import torch, mixscope; [getattr(mixscope, name) for name in mixscope.__all__]"
    commands = {
        "import torch": ["-c", "import torch"],
        "import torch, mixscope": ["-c", "import torch, mixscope"],
        "import torch and every public name of mixscope": ["-c", everything],
        "import mixscope": ["-c", "import mixscope"],
        "mixscope --help": ["-m", "mixscope", "--help"],
        "mixscope train --help": ["-m", "mixscope", "train", "--help"],
    }
    seconds = {name: [] for name in commands}
    for repetition in range(3 if arguments.quick else 12):
        for name, command in commands.items():
            elapsed = run(*command)
            if repetition:
                seconds[name].append(elapsed)
    results = {name: summarise(values) for name, values in seconds.items()}
    for name, values in results.items():
        print(f"{values['median']:.3f} s  {name}")
    write_result("startup", results, out=arguments.out)


if __name__ == "__main__":
    main()
