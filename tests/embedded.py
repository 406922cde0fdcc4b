"""A data set whose items are embeddings; a module of its own, so that a spawned worker can import it."""

from torch.utils.data import Dataset

import hear_msss


class Embedded(Dataset):
    """Scene embeddings, computed in the worker."""

    def __init__(self, audio, model):
        self.audio, self.model = audio, model

    def __len__(self):
        return len(self.audio)

    def __getitem__(self, number):
        return hear_msss.get_scene_embeddings(self.audio[number : number + 1], self.model)[0]
