#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The same work in rein and in TRL, paired: how many times faster, and in how much less memory.

usage: peer_trl.py [options] MODEL SFT.jsonl PAIRS.jsonl

  MODEL         a Hugging Face folder in float32 (SmolLM2-135M: the figures of conf/doc/performance.md)
  SFT.jsonl     lines of {"messages": [user, assistant]}
  PAIRS.jsonl   lines of {"prompt", "chosen", "rejected"}, lists of messages
  --rein PATH   the program (default: rein); its modules through REIN_PLUGIN_PATH
  --work LIST   of sample,sft,dpo,grpo,ppo and ppo-bf16,lora,lora-bf16 (default: the first five)
  --runs N      pairs of runs, A B A B ... (default 5)
  --side S      rein, trl or both (default both)
  --tsv FILE    measurements are appended here (default: peer.tsv); a long comparison can be made in pieces
  --summary     measure nothing, print the table of what FILE holds
  --threads N   (default 2)   --micro N  rows or pairs that TRL computes at once in sft and dpo (default 8)
  --rein-micro N  the same for rein (default 0: as its own default says)
  --trl-ppo DIR  TRL 1.9.0, for ppo (pip install --no-deps --target DIR trl==1.9.0)
  --attention A  of transformers: sdpa or eager (default sdpa)      --scratch DIR  (default: a temporary folder)

Each measurement is a process of its own. Both sides do one step to warm up and one that counts: the time between the
ends of the two, as a user waits for it. The reference log-probabilities that rein computes before the first step of DPO are
added to its step, since TRL computes them in each step. `start` is from the start of the process to the beginning of the
first step. Tokens are real ones, padding left out. Peak memory is VmHWM when the steps are done, nothing saved.

What is done (in float32, everything trained in full, AdamW, a gradient norm clipped at 1):
  sample  16 completions of 64 tokens of one prompt, prefill counted: model.generate and `rein generate`
  sft     a step of 8 rows {prompt, completion}, the loss on the completions
  dpo     a step of 8 pairs with a reference
  grpo    a step of 2 prompts x 8 completions of at most 64 tokens with a reference, the reward a rule on the text
  ppo     16 completions of 64 tokens, one epoch; actor, critic, reference and reward model, all of their own.
          TRL dropped its PPOTrainer after 1.9: --trl-ppo says where that version is
These are of rein alone, beside ppo in full:
  lora    ppo with LoRA of rank 16 and a shared trunk
  ppo-bf16, lora-bf16: the same with what is frozen held in bfloat16, ppo with gradient checkpointing besides
"""
import argparse
import collections
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import types

STEPS = 2  # one to warm up and one that counts
WORKS = ("sample", "sft", "dpo", "grpo", "ppo")
OWN = ("ppo-bf16", "lora", "lora-bf16")  # beside rein's own ppo
COLUMNS = ("work", "side", "run", "seconds", "tokens", "start", "rss_kib", "when")
RESPONSE = 64
PATTERN = "[0-9][0-9]"  # what grpo rewards


# ---- the rows ---------------------------------------------------------------

def read_jsonl(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write_jsonl(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def prepare(options, folder):
    """The rows of both sides, in files. Rows 8 to 24 and pairs 16 to 32 are of usual length."""
    texts, pairs = read_jsonl(options.sft), read_jsonl(options.pairs)
    sft = [{"prompt": row["messages"][:-1], "completion": row["messages"][-1:]} for row in texts[8:16]]
    write_jsonl(folder / "sft.jsonl", sft)
    write_jsonl(folder / "dpo.jsonl", [{k: row[k] for k in ("prompt", "chosen", "rejected")} for row in pairs[16:24]])
    # short questions, as a user's turn: answers seldom end before their 64 tokens
    short = [{"prompt": row["messages"][:1]} for row in texts if len(row["messages"][0]["content"]) <= 130]
    write_jsonl(folder / "prompts.jsonl", short[:16 * STEPS])
    write_jsonl(folder / "few.jsonl", short[:2 * STEPS])
    write_jsonl(folder / "one.jsonl", [{"prompt": texts[0]["messages"][:1]}])


def reward_folder(model, folder):
    """MODEL with a score head of small numbers."""
    to = folder / "reward"
    if (to / "model.safetensors").exists():
        return to
    from safetensors.torch import load_file, save_file
    import torch
    shutil.copytree(model, to, dirs_exist_ok=True)
    config = json.loads((to / "config.json").read_text())
    weights = load_file(to / "model.safetensors")
    weights["score.weight"] = torch.randn(1, config["hidden_size"], generator=torch.Generator().manual_seed(1)) * 0.02
    save_file(weights, to / "model.safetensors", metadata={"format": "pt"})
    config.update(architectures=["LlamaForSequenceClassification"], num_labels=1, id2label={"0": "LABEL_0"},
                  label2id={"LABEL_0": 0})
    (to / "config.json").write_text(json.dumps(config))
    return to


# ---- rein -------------------------------------------------------------------

STAGES = {
    "sft": """
    algorithm: {{use: sft}}
    model: {{from: base}}
    data: {{train: sft.jsonl}}
    train: {{steps: {steps}, batch: 8, lr: 1.0e-6{micro}}}""",
    "dpo": """
    algorithm: {{use: dpo}}
    model: {{from: base}}
    reference: {{from: base}}
    data: {{train: dpo.jsonl}}
    train: {{steps: {steps}, batch: 8, lr: 1.0e-6{micro}}}""",
    "grpo": """
    algorithm: {{use: grpo, baseline: group, beta: 0.04, variance: 0}}
    model: {{from: base}}
    reference: {{from: base}}
    rewards: [{{use: rule, kind: regex, pattern: "{pattern}"}}]
    data: {{train: few.jsonl}}
    rollout: {{prompts: 2, group: 8, max_tokens: 64, temperature: 1.0}}
    train: {{steps: {steps}, lr: 1.0e-6{micro}}}""",
    "ppo": """
    algorithm: {{use: ppo}}
    model: {{from: base}}
    reference: {{from: base}}
    critic: {{from: quality, head: value}}
    rewards: [{{use: rm, model: quality}}]
    data: {{train: prompts.jsonl}}
    rollout: {{prompts: 16, group: 1, max_tokens: 64, temperature: 1.0}}
    train: {{steps: {steps}, epochs: 1, lr: 1.0e-6{micro}}}""",
    "lora": """
    algorithm: {{use: ppo}}
    model: {{from: base, lora: {{rank: 16}}}}
    reference: {{from: base}}
    critic: {{share: policy}}
    rewards: [{{use: rm, model: quality}}]
    data: {{train: prompts.jsonl}}
    rollout: {{prompts: 16, group: 1, max_tokens: 64, temperature: 1.0}}
    train: {{steps: {steps}, epochs: 1, lr: 1.0e-6{micro}}}""",
    "ppo-bf16": """
    algorithm: {{use: ppo}}
    model: {{from: base, gradient_checkpointing: true}}
    reference: {{from: base, dtype: bf16}}
    critic: {{from: quality, head: value, gradient_checkpointing: true}}
    rewards: [{{use: rm, model: quality, dtype: bf16}}]
    data: {{train: prompts.jsonl}}
    rollout: {{prompts: 16, group: 1, max_tokens: 64, temperature: 1.0}}
    train: {{steps: {steps}, epochs: 1, lr: 1.0e-6{micro}}}""",
    "lora-bf16": """
    algorithm: {{use: ppo}}
    model: {{from: base, dtype: bf16, lora: {{rank: 16}}}}
    reference: {{from: base, dtype: bf16}}
    critic: {{share: policy}}
    rewards: [{{use: rm, model: quality, dtype: bf16}}]
    data: {{train: prompts.jsonl}}
    rollout: {{prompts: 16, group: 1, max_tokens: 64, temperature: 1.0}}
    train: {{steps: {steps}, epochs: 1, lr: 1.0e-6{micro}}}""",
}


def peak(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def environment(options):
    """Neither side is to wait by spinning or to start more threads than it was given."""
    return dict(os.environ, OMP_NUM_THREADS=str(options.threads), MKL_NUM_THREADS=str(options.threads),
                TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", CUDA_VISIBLE_DEVICES="")


def step_lines(path):
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        return []
    return [line for line in map(json.loads, lines) if "loss" in line and "step_time" in line]


def rein_train(options, work, folder):
    micro = f", micro_batch: {options.rein_micro}" if options.rein_micro else ""
    quality = "\n  quality: {{from: {reward}}}" if work in ("ppo", *OWN) else ""
    text = ("rein: 1\nseed: 7\noutput: run\nmodels:\n  base: {{from: {model}}}" + quality + "\nstages:\n  - name: it" +
            STAGES[work] + "\n")
    (folder / f"{work}.yaml").write_text(text.format(
        model=options.model.resolve(), reward=(folder / "reward").resolve(), pattern=PATTERN, steps=STEPS, micro=micro))
    shutil.rmtree(folder / "run", ignore_errors=True)
    metrics = folder / "run" / "it" / "metrics.jsonl"
    began = time.monotonic()
    with open(folder / "rein.err", "w+", encoding="utf-8") as err:
        child = subprocess.Popen([options.rein, "run", f"{work}.yaml", "-v", "--threads", str(options.threads)],
                                 cwd=folder, env=environment(options), stderr=err)
        ends, size = [], 0
        while len(ends) < STEPS:
            time.sleep(0.002)
            if child.poll() is not None:
                break
            try:
                now, grown = time.monotonic(), os.stat(metrics).st_size
            except FileNotFoundError:
                continue
            if grown != size:
                size = grown
                ends += [now] * (len(step_lines(metrics)) - len(ends))
        rss = peak(child.pid) if child.poll() is None else 0
        child.send_signal(signal.SIGKILL)  # the model need not be written
        child.wait()
        err.seek(0)
        said = err.read()
    if len(ends) < STEPS:
        sys.exit(f"{options.rein} run {work}.yaml: {said}")
    lines = step_lines(metrics)
    seconds = ends[1] - ends[0]
    start = ends[0] - began - lines[0]["step_time"] - lines[0].get("rollout_time", 0)
    tokens = lines[1]["num_tokens"] - lines[0]["num_tokens"]
    for line in said.splitlines():
        found = re.search(r"reference log-probabilities .* in ([0-9.]+) s", line)
        if found:
            once = float(found[1])
            seconds += once
            start -= once
    return seconds, tokens, start, rss


def rein_sample(options, folder):
    began = time.monotonic()
    child = subprocess.Popen([options.rein, "generate", str(options.model.resolve()), "--prompts", "one.jsonl", "--samples",
                              "16", "--max-tokens", str(RESPONSE), "--temperature", "1", "--ignore-eos", "--json", "-v",
                              "--threads", str(options.threads)], cwd=folder, env=environment(options),
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = child.communicate()
    taken = time.monotonic() - began
    usage = re.search(r"([0-9]+) tokens in ([0-9.]+) s.*peak memory ([0-9]+) MiB", err)
    if child.returncode or not usage:
        sys.exit(f"{options.rein} generate: {err}")
    seconds, rss = float(usage[2]), int(usage[3]) * 1024
    tokens = sum(len(json.loads(line)["completion_ids"]) for line in out.splitlines())
    return seconds, tokens, taken - seconds, rss


# ---- TRL --------------------------------------------------------------------

def clock():
    """When each step ended; and how far the process has come then."""
    import transformers

    class Clock(transformers.TrainerCallback):
        began, ends, tokens = None, [], []

        def on_train_begin(self, args, state, control, **more):
            self.began = time.monotonic()

        def on_step_end(self, args, state, control, **more):
            self.ends.append(time.monotonic())

        def on_log(self, args, state, control, logs=None, **more):
            if "num_tokens" in (logs or {}):
                self.tokens.append(logs["num_tokens"])

    return Clock()


def trl_settings(options, folder, rows):
    return dict(output_dir=str(folder / "trl"), per_device_train_batch_size=rows, gradient_accumulation_steps=8 // rows or 1,
                max_steps=STEPS, learning_rate=1e-6, logging_steps=1, save_strategy="no", report_to="none", use_cpu=True,
                bf16=False, gradient_checkpointing=False, disable_tqdm=True, dataloader_num_workers=0)


def load(options, path=None, score=False):
    import torch
    import transformers
    kind = transformers.AutoModelForSequenceClassification if score else transformers.AutoModelForCausalLM
    more = {"num_labels": 1} if score else {}
    return kind.from_pretrained(path or options.model, dtype=torch.float32, attn_implementation=options.attention, **more)


def token_counts(options, folder, work):
    """Real tokens of the rows, for trainers that do not report them."""
    import transformers
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
    return sum(len(tokenizer.apply_chat_template(row["prompt"] + row[k], tokenize=True, return_dict=False))
               for row in read_jsonl(folder / f"{work}.jsonl")[:8] for k in ("chosen", "rejected", "completion") if k in row)


def trl_trainer(options, work, folder):
    import datasets
    import transformers
    import trl
    datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()
    tick = clock()
    name = {"sft": "sft", "dpo": "dpo", "grpo": "few"}[work]
    data = datasets.load_dataset("json", data_files=str(folder / f"{name}.jsonl"), split="train",
                                 cache_dir=tempfile.mkdtemp(dir=folder))
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
    more = {"model": load(options), "train_dataset": data, "processing_class": tokenizer, "callbacks": [tick]}
    if work == "sft":
        trl.SFTTrainer(args=trl.SFTConfig(**trl_settings(options, folder, options.micro)), **more).train()
        tokens = tick.tokens[1] - tick.tokens[0]
    elif work == "dpo":
        trl.DPOTrainer(ref_model=load(options), args=trl.DPOConfig(**trl_settings(options, folder, options.micro)),
                       **more).train()
        tokens = token_counts(options, folder, work)
    else:
        def rule(completions, **columns):
            return [float(re.search(PATTERN, turns[0]["content"]) is not None) for turns in completions]
        settings = trl_settings(options, folder, 16)
        settings.update(gradient_accumulation_steps=1, num_generations=8, max_completion_length=RESPONSE, beta=0.04,
                        temperature=1.0)
        trl.GRPOTrainer(reward_funcs=rule, args=trl.GRPOConfig(**settings), **more).train()
        tokens = tick.tokens[1] - tick.tokens[0]
    return tick, tokens


def trl_sample(options, folder):
    import torch
    import transformers
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
    model = load(options).eval()
    prompt = tokenizer.apply_chat_template(read_jsonl(folder / "one.jsonl")[0]["prompt"], add_generation_prompt=True,
                                           return_tensors="pt", return_dict=True)
    begins, ends = [], []
    with torch.inference_mode():
        for tokens in (4, RESPONSE):  # a few tokens warm up
            begins += [time.monotonic()]
            ids = model.generate(**prompt, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, num_return_sequences=16,
                                 min_new_tokens=tokens, max_new_tokens=tokens)
            ends += [time.monotonic()]
    assert ids.shape == (16, prompt["input_ids"].shape[1] + RESPONSE)
    return types.SimpleNamespace(began=begins[0], ends=[begins[1], ends[1]]), 16 * RESPONSE


def trl_ppo(options, folder):
    """PPOTrainer of TRL 1.9, the last that had one."""
    import datasets
    import torch
    import transformers
    from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer
    transformers.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model, padding_side="left")
    tokenizer.pad_token_id = 0  # its own also ends turns
    rows = [{"input_ids": tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=False)}
            for row in read_jsonl(folder / "prompts.jsonl")]
    data, tick, tokens = datasets.Dataset.from_list(rows), clock(), []
    batch_generation = ppo_trainer.batch_generation

    def counted(*args):
        made = batch_generation(*args)
        tokens.append(int((made[0] != 0).sum()))
        return made
    ppo_trainer.batch_generation = counted
    args = PPOConfig(output_dir=str(folder / "trl"), per_device_train_batch_size=16, gradient_accumulation_steps=1,
                     num_mini_batches=1, num_ppo_epochs=1, local_rollout_forward_batch_size=16, total_episodes=16 * STEPS,
                     response_length=RESPONSE, temperature=1.0, learning_rate=1e-6, num_sample_generations=0, use_cpu=True,
                     bf16=False, gradient_checkpointing=False, save_strategy="no", report_to="none", disable_tqdm=True)
    trainer = PPOTrainer(args, tokenizer, load(options), load(options), load(options, folder / "reward", True), data,
                         load(options, folder / "reward", True), eval_dataset=data, callbacks=[tick])
    torch.manual_seed(7)
    trainer.train()
    return tick, tokens[1]


def trl_child(options, work, folder):
    import torch
    torch.set_num_threads(options.threads)
    torch.manual_seed(7)
    if work == "sample":
        tick, tokens = trl_sample(options, folder)
    elif work == "ppo":
        sys.path.insert(0, str(options.trl_ppo))
        tick, tokens = trl_ppo(options, folder)
    else:
        tick, tokens = trl_trainer(options, work, folder)
    print("measured " + json.dumps({"began": tick.began, "ends": tick.ends[:STEPS], "tokens": tokens, "rss": peak("self")}))


def trl(options, work, folder):
    began = time.monotonic()
    # monotonic clocks of processes on one machine agree
    done = subprocess.run([sys.executable, os.path.abspath(__file__), *sys.argv[1:], "--child", work, "--scratch", str(folder)],
                          env=environment(options), capture_output=True, text=True)
    found = [line for line in done.stdout.splitlines() if line.startswith("measured ")]
    if done.returncode or not found:
        sys.exit(f"{work} in TRL: {done.stdout[-1000:]}{done.stderr[-3000:]}")
    m = json.loads(found[0][9:])
    seconds = m["ends"][1] - m["ends"][0]
    return seconds, m["tokens"], m["began"] - began, m["rss"]


# ---- the table --------------------------------------------------------------

def measure(options, work, side, folder, run):
    if work in ("ppo", *OWN):
        reward_folder(options.model, folder)
    if side == "trl":
        took = trl(options, work, folder)
    elif work == "sample":
        took = rein_sample(options, folder)
    else:
        took = rein_train(options, work, folder)
    row = (work, side, run, f"{took[0]:.3f}", int(took[1]), f"{took[2]:.3f}", took[3], time.strftime("%Y-%m-%dT%H:%M:%S"))
    new = not os.path.exists(options.tsv)
    with open(options.tsv, "a", encoding="utf-8") as file:
        if new:
            file.write("\t".join(COLUMNS) + "\n")
        file.write("\t".join(map(str, row)) + "\n")
    print("\t".join(map(str, row)), flush=True)


def summary(path):
    found = collections.defaultdict(list)
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines()[1:]:
        row = dict(zip(COLUMNS, line.split("\t")))
        found[row["work"], row["side"]].append(
            (float(row["seconds"]), int(row["tokens"]), float(row["start"]), int(row["rss_kib"])))
    print(f"{'work':9}{'runs':>6}{'rein s':>16}{'TRL s':>16}{'tokens':>14}{'ratio':>8}{'at best':>9}{'memory MiB':>15}{'share':>7}"
          f"{'start s':>15}")
    print(f"{'':15}{'median (min)':>16}{'median (min)':>16}{'':14}{'tok/s':>8}")
    for work in (*WORKS, *OWN):
        a, b = found[work, "rein"], found["ppo", "rein"] if work in OWN else found[work, "trl"]
        if not a or not b:
            continue
        middle = [[statistics.median(column) for column in zip(*side)] for side in (a, b)]
        rate = [statistics.median(t / s for s, t, *_ in side) for side in (a, b)]
        best = [max(t / s for s, t, *_ in side) for side in (a, b)]
        low = [min(s for s, *_ in side) for side in (a, b)]
        print(f"{work:9}{f'{len(a)},{len(b)}':>6}{f'{middle[0][0]:.2f} ({low[0]:.2f})':>16}"
              f"{f'{middle[1][0]:.2f} ({low[1]:.2f})':>16}{f'{middle[0][1]:.0f}/{middle[1][1]:.0f}':>14}"
              f"{rate[0] / rate[1]:8.2f}{best[0] / best[1]:9.2f}"
              f"{f'{middle[0][3] / 1024:.0f}/{middle[1][3] / 1024:.0f}':>15}{middle[0][3] / middle[1][3]:7.2f}"
              f"{f'{middle[0][2]:.2f}/{middle[1][2]:.2f}':>15}{'  (beside our own ppo)' if work in OWN else ''}")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("sft")
    parser.add_argument("pairs")
    parser.add_argument("--rein", default="rein")
    parser.add_argument("--work", default=",".join(WORKS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--side", choices=("rein", "trl", "both"), default="both")
    parser.add_argument("--tsv", default="peer.tsv")
    parser.add_argument("--summary", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--micro", type=int, default=8)
    parser.add_argument("--rein-micro", type=int, default=0)
    parser.add_argument("--trl-ppo", type=pathlib.Path)
    parser.add_argument("--attention", choices=("sdpa", "eager"), default="sdpa")
    parser.add_argument("--scratch", type=pathlib.Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return trl_child(options, options.child, options.scratch)
    if options.summary:
        return summary(options.tsv)
    for work in options.work.split(","):
        if work not in (*WORKS, *OWN):
            parser.error(f"--work: {work} is none of {', '.join((*WORKS, *OWN))}")
        if work in OWN and options.side == "trl":
            parser.error(f"--work: {work} is of rein alone")
        if work == "ppo" and options.side != "rein" and not (options.trl_ppo and (options.trl_ppo / "trl").is_dir()):
            parser.error("ppo in TRL: --trl-ppo DIR, with trl 1.9.0 in it")
    options.rein = shutil.which(options.rein) or parser.error(f"--rein: there is no program {options.rein}")
    folder = options.scratch or pathlib.Path(tempfile.mkdtemp(prefix="peer-trl-"))
    folder.mkdir(parents=True, exist_ok=True)
    prepare(options, folder)
    for work in options.work.split(","):
        for run in range(options.runs):
            for side in ("rein", "trl") if options.side == "both" else (options.side,):
                if side == "rein" or work not in OWN:
                    measure(options, work, side, folder, run)
    summary(options.tsv)
    if options.scratch is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
