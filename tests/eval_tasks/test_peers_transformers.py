"""Encoders of transformers, small and random, made from their configurations: nothing is downloaded."""

import pytest
import torch

transformers = pytest.importorskip("transformers")

from eval_tasks.peers import transformers as peer  # noqa: E402

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
CONVOLUTIONS = {
    "conv_dim": [8] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}


def wav2vec2_kin(name):
    config = getattr(transformers, f"{name}Config")(**SMALL, **CONVOLUTIONS)
    return getattr(transformers, f"{name}Model")(config), transformers.Wav2Vec2FeatureExtractor()


def whisper():
    config = transformers.WhisperConfig(
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        vocab_size=50,
        max_source_positions=100,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    return transformers.WhisperModel(config), transformers.WhisperFeatureExtractor(chunk_length=2)


def ast():
    config = transformers.ASTConfig(**SMALL, max_length=200, num_mel_bins=32)
    return transformers.ASTModel(config), transformers.ASTFeatureExtractor(max_length=200, num_mel_bins=32)


def clap():
    audio = {
        "patch_embeds_hidden_size": 8,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "num_mel_bins": 32,
    }
    audio |= {
        "spec_size": 64,
        "window_size": 4,
        "hidden_size": 16,
        "projection_dim": 8,
        "enable_fusion": False,
    }
    text = {**SMALL, "vocab_size": 20, "max_position_embeddings": 20, "projection_dim": 8}
    config = transformers.ClapConfig(audio_config=audio, text_config=text, projection_dim=8)
    extractor = transformers.ClapFeatureExtractor(feature_size=32, max_length_s=1, truncation="rand_trunc")
    return transformers.ClapModel(config), extractor


MODELS = {
    "wav2vec2": lambda: wav2vec2_kin("Wav2Vec2"),
    "hubert": lambda: wav2vec2_kin("Hubert"),
    "wavlm": lambda: wav2vec2_kin("WavLM"),
    "data2vec": lambda: wav2vec2_kin("Data2VecAudio"),
    "whisper": whisper,
    "ast": ast,
    "clap": clap,
}
# Middle of the first frame and time between frames in ms; 25 ms seen every 20 ms; spectra every 10 ms, two
# to a frame; patches of 16 spectra of 25 ms every ten; 1 s in 2 x 8 columns.
TIMES_MS = {
    **dict.fromkeys(("wav2vec2", "hubert", "wavlm", "data2vec"), (12.5, 20)),
    "whisper": (0, 20),
    "ast": (87.5, 100),
    "clap": (31.25, 62.5),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    torch.manual_seed(0)
    made = {}
    for name, make in MODELS.items():
        made[name] = tmp_path_factory.mktemp(name)
        for part in make():
            part.save_pretrained(made[name])
    return made


def sounds(model, seconds):
    shape = 2, round(seconds * model.sample_rate)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) / 10


@pytest.mark.parametrize("name", MODELS)
def test_hear_api(folders, name):
    model = peer.load_model(str(folders[name]))
    assert model.sample_rate == (48_000 if name == "clap" else 16_000)
    for seconds in (1e-4, 0.5, 5):  # a few samples, and more than AST, CLAP and Whisper take at once
        audio = sounds(model, seconds)
        with torch.no_grad():
            embeddings, times_ms = peer.get_timestamp_embeddings(audio, model)
            scenes = peer.get_scene_embeddings(audio, model)
        assert embeddings.shape == (2, times_ms.shape[1], model.timestamp_embedding_size)
        assert scenes.shape == (2, model.scene_embedding_size) and scenes.isfinite().all()
        assert embeddings.dtype == scenes.dtype == times_ms.dtype == torch.float32
        first, step = TIMES_MS[name]
        expected = (first + step * torch.arange(times_ms.shape[1], dtype=torch.float64)).float()
        torch.testing.assert_close(times_ms, expected.expand(2, -1), rtol=0, atol=0)
        if seconds > first / 1000:
            assert 1000 * seconds - 2 * step < times_ms[0, -1] <= 1000 * seconds


@pytest.mark.parametrize("name", ["wav2vec2", "whisper"])
def test_embeddings_are_the_models_own(folders, name):
    own, extractor = (
        transformers.AutoModel.from_pretrained(folders[name]).eval(),
        transformers.AutoFeatureExtractor.from_pretrained(folders[name]),
    )
    model = peer.load_model(name=str(folders[name]))
    audio = sounds(model, 1)
    inputs = extractor(list(audio.numpy()), sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        encoder = own.get_encoder() if name == "whisper" else own
        output = encoder(**inputs, output_hidden_states=True)
        embeddings, _ = peer.get_timestamp_embeddings(audio, model)
        expected = output.last_hidden_state[:, : embeddings.shape[1]]
        torch.testing.assert_close(embeddings, expected, rtol=0, atol=1e-5)
        for layer, hidden in (
            (0, output.hidden_states[0]),
            ("mean", torch.stack(output.hidden_states).mean(0)),
        ):
            chosen = peer.load_model(name=str(folders[name]), layer=layer)
            torch.testing.assert_close(chosen(audio)[0], hidden[:, : embeddings.shape[1]], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["ast", "clap"])
def test_a_click_is_heard_at_its_time(folders, name):
    """Patches and stretches are in order: a change of the sound changes the frames around it most."""
    model = peer.load_model(str(folders[name]))
    silence = sounds(model, 1.9)[:1] / 10
    for middle_s in (0.4, 1.4):
        loud = silence.clone()
        begin = round((middle_s - 0.1) * model.sample_rate)
        loud[:, begin : begin + model.sample_rate // 5] *= 100
        grid = model.grid
        features = [
            model.extractor(
                clip[0].numpy(),
                sampling_rate=model.sample_rate,
                return_tensors="pt",
                **({"padding": "pad"} if name == "clap" else {}),
            )
            for clip in (silence, loud)
        ]
        pictures = [next(v for k, v in f.items() if k != "is_longer") for f in features]
        with torch.no_grad():
            if name == "ast":  # the patches before attention mixes them
                hidden = [grid.arrange(model.network.embeddings(picture)) for picture in pictures]
            else:
                hidden = [model(clip)[0] for clip in (silence, loud)]
        change = (hidden[1] - hidden[0]).norm(dim=-1)[0]
        times_ms = grid.times_ms(len(change), model.sample_rate, change.device)
        loudest_ms = times_ms[change.argmax()]
        assert abs(loudest_ms - 1000 * middle_s) < (150 if name == "ast" else 260)


def test_long_clips_in_pieces_are_seamless(tmp_path, monkeypatch):
    """A frame that no piece's end is near is what it is in the whole clip, whichever piece it lies in."""
    config = transformers.Wav2Vec2Config(**SMALL, **CONVOLUTIONS, feat_extract_norm="layer")
    transformers.Wav2Vec2Model(config).save_pretrained(tmp_path)  # norms over a frame, not over a clip
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path)
    model = peer.load_model(str(tmp_path), layer=0)  # before attention, which sees all of a piece
    audio = sounds(model, 3.3)
    with torch.no_grad():
        whole, times_ms = model(audio)
        monkeypatch.setattr("eval_tasks.peers.frames.PIECE_S", 1)
        pieces, other_ms = peer.load_model(str(tmp_path), layer=0)(audio)
    assert torch.equal(times_ms, other_ms) and whole.shape == pieces.shape
    index, piece_frames = torch.arange(whole.shape[1]), 50
    reach = config.num_conv_pos_embeddings // 2  # frames that the convolution over positions sees
    inner = ((index % piece_frames) >= reach) & ((index % piece_frames) < piece_frames - reach)
    assert inner.sum() > 120 and index[inner].max() > 3 * piece_frames
    torch.testing.assert_close(pieces[:, inner], whole[:, inner], rtol=0, atol=1e-5)
    far = (whole[:, 1:] - whole[:, :-1]).abs().amax(dim=-1)
    assert far.min() > 1e-3  # neighbours differ: a piece that is one frame off would be seen


def test_random_weights_are_seeded(folders, tmp_path):
    for file in ("config.json", "preprocessor_config.json"):
        (tmp_path / file).write_text((folders["hubert"] / file).read_text())
    models = [peer.load_model(name=str(tmp_path), random=True) for _ in range(2)]
    audio = sounds(models[0], 0.1)
    assert torch.equal(*(model(audio)[0] for model in models))
    with pytest.raises(OSError):
        peer.load_model(name=str(tmp_path))


def test_what_cannot_be_is_said(folders, tmp_path):
    with pytest.raises(ValueError, match="expected one of them"):
        peer.load_model()
    with pytest.raises(ValueError, match=r"layer=3: expected 'mean' or a number from -3 to 2"):
        peer.load_model(str(folders["wavlm"]), layer=3)
    with pytest.raises(ValueError, match="differ in size"):
        peer.load_model(str(folders["clap"]), layer="mean")
    transformers.BertModel(transformers.BertConfig(**SMALL, vocab_size=20)).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="a model of kind 'bert': expected"):
        peer.load_model(str(tmp_path))
