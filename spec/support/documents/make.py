"""Makes documents for the specs: make.py KIND FILE. Kinds: docx, pdf (each says a sentence of its
own), bomb (a .docx that unpacks to 210 MB), many (201 entries), doctype, endless (an XML whose first
word does not end), empty_pdf."""
import sys
import zipfile

NAMESPACE = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def word(paragraphs, before=""):
    body = "".join(
        f'<w:p><w:r><w:t xml:space="preserve">{p}</w:t></w:r></w:p>' for p in paragraphs)
    return (f'<?xml version="1.0" encoding="UTF-8"?>{before}<w:document xmlns:w="{NAMESPACE}">'
            f"<w:body>{body}</w:body></w:document>")


def docx(path, document, more=()):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", document)
        for name, content in more:
            archive.writestr(name, content)


def pdf(path, text):
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    out, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1, table)
    with open(path, "wb") as file:
        file.write(out)


kind, target = sys.argv[1:]
if kind == "docx":
    docx(target, word(["The library lends ukuleles &amp; banjos for six weeks.", "किताबें मुफ़्त हैं।"]))
elif kind == "pdf":
    pdf(target, "The canteen serves lentil soup on Wednesdays.")
elif kind == "empty_pdf":
    pdf(target, "")
elif kind == "bomb":
    docx(target, word(["x"]), [("word/media/zeros", b"0" * (210 << 20))])
elif kind == "many":
    docx(target, word(["x"]), [(f"word/media/{n}", b"") for n in range(199)])
elif kind == "endless":
    docx(target, "<" + "A" * (150 << 20))
elif kind == "doctype":
    docx(target, word(["&e;"], '<!DOCTYPE d [<!ENTITY e "boom">]>'))
