// Transcripts on the page: live, entries grow until they are final; stored, as they were kept.
const names = { customer: "You", bot: "Bot", agent: "Agent", dtmf: "Keypad" };

function entry(list, role) {
  const item = document.createElement("li");
  item.className = role;
  const who = document.createElement("span");
  who.className = "who";
  who.textContent = names[role] ?? role;
  const text = document.createElement("span");
  item.append(who, text);
  list.append(item);
  return { item, who, text };
}

export class Transcript {
  constructor(list) {
    this.list = list;
    this.list.replaceChildren();
    this.entries = new Map();
  }

  // One entry a role and turn; interim text is replaced by what follows.
  update({ role, text, final, turn }) {
    const key = `${role}:${turn}`;
    let found = this.entries.get(key);
    if (!found) {
      found = entry(this.list, role);
      this.entries.set(key, found);
    }
    found.text.textContent = text;
    found.item.classList.toggle("interim", final === false);
    this.list.scrollTop = this.list.scrollHeight;
  }

  event(text) {
    const item = document.createElement("li");
    item.className = "event";
    item.textContent = text;
    this.list.append(item);
    this.list.scrollTop = this.list.scrollHeight;
  }

  // A stored transcript: what was heard, and struck through what was cut off.
  static show(list, turns) {
    list.replaceChildren();
    for (const turn of turns) {
      const { who, text } = entry(list, turn.role);
      who.textContent += ` · ${(turn.start_ms / 1000).toFixed(1)} s`;
      text.textContent = turn.text;
      if (turn.full_text?.startsWith(turn.text)) {
        const cut = document.createElement("del");
        cut.textContent = turn.full_text.slice(turn.text.length);
        text.append(cut);
      }
    }
  }
}
