"""ASC X12 005010 HIPAA transaction sets: carried by SFTP, SOAP or HTTP."""
