"""Train the packaged redirector with a loss of your own: python custom_loss.py [STEPS [PEOPLE]]

To use a loss in configs, logs and checkpoints, add it to the project: CONTRIBUTING.md, "A loss".
"""

import sys
from dataclasses import replace
from pathlib import Path

import tensorflow as tf

from mggr_edge.common.progress import no_progress
from mggr_tf.config.stages import Augmentation
from mggr_tf.data.pairs import pair_dataset
from mggr_tf.data.rows import Shares
from mggr_tf.data.source import open_samples
from mggr_tf.evaluation.trained import load_redirector
from mggr_tf.models.networks import save_weights
from mggr_tf.runs.listing import open_run


def edges(picture: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Mean absolute difference of the Sobel gradients of two pictures [B, H, W, 3]."""
    return tf.reduce_mean(tf.abs(tf.image.sobel_edges(picture) - tf.image.sobel_edges(target)))


def main(steps: int = 200, people: int = 50) -> None:
    run = open_run("default")
    config = replace(run.config, synthetic=replace(run.config.synthetic, subjects=people, seed=7))
    samples = open_samples(
        "synthetic", config=config, subjects=None, progress=no_progress, notify=print
    )
    redirector = load_redirector(run).averaged.joined
    optimizer = tf.keras.optimizers.Adam(1e-4)

    @tf.function
    def train(batch: dict[str, tf.Tensor]) -> tf.Tensor:
        with tf.GradientTape() as tape:
            inputs = {name: batch[name] for name in ("eye", "gazemap", "delta", "head_pose")}
            redirected = redirector(inputs, training=True)["redirected"]
            l1 = tf.reduce_mean(tf.abs(redirected - batch["target"]))
            loss = l1 + 0.5 * edges(redirected, batch["target"])
        variables = redirector.trainable_variables
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    how = {"augmentation": Augmentation(), "conventions": config.conventions}
    batches = pair_dataset(samples, shares=Shares(batch=16), seed=1, steps=(0, steps), **how)
    for number, batch in enumerate(batches):
        loss = train(batch)
        if number % 50 == 0 or number == steps - 1:
            print(f"step {number}: loss {float(loss):.4f}")
    save_weights(redirector, Path("custom_loss.npz"))


if __name__ == "__main__":  # The renderer starts processes.
    main(*map(int, sys.argv[1:]))
