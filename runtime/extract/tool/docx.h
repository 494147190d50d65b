/* The text of a .docx file: a zip archive whose word/document.xml is WordprocessingML (ECMA-376).
 */
#pragma once

/* Writes it to standard output, a paragraph a line, UTF-8. NULL, or why the file is refused. */
const char *docx_print(const char *path);
