"""Decision tables: rows of cells as people keep them in spreadsheets, with DMN hit policies and gap analysis."""
