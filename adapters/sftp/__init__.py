"""SFTP drops: polling partners' folders and leaving files there (draft-ietf-secsh-filexfer-02 over SSH-2)."""
