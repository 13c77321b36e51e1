"""The trainer of the paper's model: clips of real people, many processes, exact continuation.

Where things are: ``config`` how to train; ``clips`` the corpus; ``spelling`` text to token ids;
``order`` which clips make which batch of which step; ``draws`` everything random of a sample;
``batches`` padded batches, read ahead; ``objective`` the loss; ``parallel`` DDP, FSDP and the
processes' agreement; ``average`` the EMA; ``state`` what is kept of a run; ``initial`` a new
network; ``scores`` held-out scores; ``trainer`` the run itself.

What a trained checkpoint (``model.safetensors``, read by ``dit.checkpoint.load_checkpoint``) holds
in its extras, for those who generate with it:

* ``family``: "omnitalker";
* ``layout``: "filler": the tokens of reference transcript and driving text, then fillers (id 0);
* ``mel``: "vocos", whose log-mel clips are in;
* ``vocabulary``: "f5" or "letters", which says how text becomes tokens (``spelling``);
* ``tokens``: the vocabulary's tokens in order; ``tokens[i]`` has id ``i + 1``;
* ``languages``: codes of the languages of the corpus;
* ``training``: configuration, steps, frames and hours seen, what the run began with.

The EMA's weights are exported. Mel and codes are normalised by the checkpoint's normalisation; it
leaves mels as they are where the audio stream came from F5-TTS.
"""
