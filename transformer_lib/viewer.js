// The attention viewer: reads maps and words from the JSON beside it, draws them into the page.
// A map's weights are whole hundredths, one byte each, in the order layer, head, row, column.
(() => {
  "use strict";

  const data = JSON.parse(document.getElementById("attention").textContent);
  for (const kind of data.maps) {
    kind.weights = Uint8Array.from(atob(kind.weights), (c) => c.charCodeAt(0));
    kind.decodes = kind.kind === "decoder" || kind.kind === "cross";
  }

  // Colours: the shades from 0 to 1 have evenly spaced lightness, whatever the theme.
  const SHADES = {
    light: "#ffffff #cde1f0 #97c4e8 #62a5df #3384d0 #1363b6 #11458c #132b5a",
    dark: "#1d2028 #243a58 #1d5888 #0079b1 #019bcf #40bee4 #8edced #d1f7fb",
  };
  const HEAD_COLOURS = {
    light: ["#0072b2", "#d55e00", "#009e73", "#b5568f", "#b07800", "#3a96c9", "#000000", "#8a5a44"],
    dark: ["#56b4e9", "#ff8a3d", "#2fcf9f", "#e39ac2", "#f0c040", "#a5d8f5", "#ffffff", "#d2a08a"],
  };
  const LABEL = 116; // pixels that a word on an axis may take
  const NUMBERS = 24; // pixels from which on a cell has room for its number
  const TILT = (55 * Math.PI) / 180; // of the words above a map
  const NOTES = {
    self: "Each row is a token; its shades say which tokens it looks at.",
    encoder: "Each row is a source token; its shades say which source tokens it looks at.",
    decoder:
      "Row: the step that writes a token. It can read only the start and the tokens before it.",
    cross: "Row: the step that writes a token. Its shades say which source tokens it looks at.",
  };
  const MANY = { one: "one head", several: "several", mean: "mean" };

  // What is shown. `pinned` and `hover` are {row, column}; either may be null: a whole line.
  const state = { view: "map", kind: null, step: 0, panels: [], pinned: null, hover: null };
  let pictures = []; // what is on the stage: each has follow(focus)
  let theme = "light";
  let shades = []; // one for each hundredth: {fill, ink}

  // ---- small tools

  const el = (tag, properties = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name.includes("-") || name === "role") element.setAttribute(name, value);
      else element[name] = value;
    }
    element.append(...children);
    return element;
  };
  const place = (element, box) => {
    for (const [side, pixels] of Object.entries(box)) element.style[side] = `${pixels}px`;
    return element;
  };
  const clamp = (x, low, high) => Math.max(low, Math.min(high, x));
  const range = (n) => Array.from({ length: n }, (_, i) => i);

  const clipped = (text, most) => {
    const letters = [...text];
    return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : text;
  };
  const shown = (token) => {
    if (token === "") return "∅";
    const text = token.replace(/[\n\r]/g, "↵").replace(/\t/g, "⇥");
    return text.trim() === "" ? text.replace(/\s/g, "␣") : text;
  };
  // A word in a sentence: quoted, apart from the text around it, numbered if there are several.
  const quoted = (words, i) => {
    const text = el("bdi", { textContent: clipped(shown(words[i]), 60) });
    const same = words.filter((word) => word === words[i]).length > 1;
    return el("span", {}, "“", text, same ? `” (${i + 1})` : "”");
  };
  const number = (value) => value.toFixed(2);

  const word = (token, className) =>
    el("span", { className, textContent: shown(token), title: clipped(token, 400), dir: "auto" });

  const ruler = el("canvas").getContext("2d");
  const widest = (words) => {
    ruler.font = "13px system-ui, 'Liberation Sans', sans-serif";
    const widths = words.map((w) => ruler.measureText(clipped(shown(w), 40)).width);
    return Math.min(LABEL, Math.ceil(Math.max(...widths)) + 8);
  };

  const makeCanvas = (width, height) => {
    const ratio = window.devicePixelRatio || 1;
    const canvas = el("canvas", { width: width * ratio, height: height * ratio });
    canvas.setAttribute("aria-hidden", "true");
    place(canvas, { width, height });
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    return [canvas, pen];
  };

  // ---- colours

  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const luminance = (colour) => {
    const linear = colour.map((c) => (c <= 10 ? c / 3295 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const makeShades = (stops) => {
    const colours = stops.split(" ").map(rgb);
    return range(101).map((i) => {
      const at = (i / 100) * (colours.length - 1);
      const from = Math.min(Math.floor(at), colours.length - 2);
      const mix = [0, 1, 2].map((c) =>
        Math.round(colours[from][c] + (colours[from + 1][c] - colours[from][c]) * (at - from)),
      );
      return { rgb: mix, fill: `rgb(${mix})`, ink: luminance(mix) > 0.18 ? "#000" : "#fff" };
    });
  };
  const shade = (value) => shades[Math.round(value * 100)];

  // The ground of the page around the frame decides; without one, the reader's system.
  const pageIsDark = () => {
    for (let element = window.frameElement; element; element = element.parentElement) {
      const ground = getComputedStyle(element).backgroundColor;
      const [r, g, b, opacity = 1] = (ground.match(/[\d.]+/g) || []).map(Number);
      if (ground.startsWith("rgb") && opacity > 0) return luminance([r, g, b]) < 0.18;
    }
    return matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const applyTheme = () => {
    theme = pageIsDark() ? "dark" : "light";
    document.documentElement.dataset.theme = theme;
    shades = makeShades(SHADES[theme]);
  };
  const accent = () => (theme === "dark" ? "#8ecbff" : "#0b5cad");

  // ---- what a panel shows: one map, or several; each {label, colour, at(row, column)}

  const average = (kind, layer, heads) => {
    const size = kind.rows.length * kind.columns.length;
    const total = new Float32Array(size);
    for (const head of heads) {
      const from = (layer * kind.heads + head) * size;
      for (let i = 0; i < size; i += 1) total[i] += kind.weights[from + i];
    }
    const at = (row, column) => total[row * kind.columns.length + column] / heads.length / 100;
    return at;
  };
  const mapsOf = (panel) => {
    const { kind } = state;
    const heads = [...panel.heads].sort((a, b) => a - b);
    if (panel.many === "mean") {
      const label = `layer ${panel.layer + 1}, mean of ${heads.length} heads`;
      return [{ label, colour: accent(), at: average(kind, panel.layer, heads) }];
    }
    const colours = HEAD_COLOURS[theme];
    return heads.map((head) => ({
      label: `layer ${panel.layer + 1}, head ${head + 1}`,
      colour: heads.length > 1 ? colours[head % colours.length] : accent(),
      at: average(kind, panel.layer, [head]),
    }));
  };
  const makePanel = (layer, head) => {
    const all = range(state.kind.heads);
    const chosen = Number.isInteger(head) ? [head - 1] : all;
    return { layer, many: Number.isInteger(head) ? "one" : "mean", heads: new Set(chosen) };
  };

  // ---- following a token

  const focus = () => state.hover || state.pinned || { row: null, column: null };
  const follow = () => {
    const at = focus();
    for (const picture of pictures) picture.follow(at);
    say(at);
  };
  const lastRow = () => (state.kind.decodes ? state.step : state.kind.rows.length) - 1;
  const strongest = (count, weight, most) =>
    range(count)
      .sort((a, b) => weight(b) - weight(a))
      .slice(0, most)
      .filter((i) => weight(i) >= 0.005);

  // Let a picture follow pointer and arrow keys; find(x, y) says what is at a point.
  const listen = (element, find) => {
    const hover = (at) => {
      if (at?.row === state.hover?.row && at?.column === state.hover?.column) return;
      state.hover = at;
      follow();
    };
    const found = (event) => {
      const box = element.getBoundingClientRect();
      const at = find(event.clientX - box.left, event.clientY - box.top);
      return at && (at.row === null || at.row <= lastRow()) ? at : null;
    };
    element.addEventListener("pointermove", (event) => hover(found(event)));
    element.addEventListener("pointerleave", () => hover(null));
    element.addEventListener("click", (event) => {
      state.pinned = found(event);
      follow();
    });
    element.addEventListener("keydown", (event) => {
      const moves = {
        ArrowUp: [-1, 0],
        ArrowDown: [1, 0],
        ArrowLeft: [0, -1],
        ArrowRight: [0, 1],
        Home: [0, -Infinity],
        End: [0, Infinity],
        PageUp: [-Infinity, 0],
        PageDown: [Infinity, 0],
      };
      if (event.key === "Escape") state.pinned = null;
      else if (moves[event.key]) move(...moves[event.key]);
      else return;
      event.preventDefault();
      state.hover = null;
      follow();
      element
        .querySelector(".cell, .label.on")
        ?.scrollIntoView({ block: "nearest", inline: "nearest" });
    });
  };
  const move = (down, right) => {
    const { row, column } = state.pinned || { row: null, column: null };
    state.pinned = {
      row: row === null ? 0 : clamp(row + down, 0, lastRow()),
      column: column === null ? 0 : clamp(column + right, 0, state.kind.columns.length - 1),
    };
  };
  const focusable = (label) => ({
    tabIndex: 0,
    role: "application",
    "aria-roledescription": "attention map",
    "aria-label": `${label}. Arrow keys move from token to token.`,
  });

  // ---- the heat map

  const heatmap = (map, space, smallest) => {
    const { rows, columns } = state.kind;
    const flat = widest(columns) * Math.sin(TILT);
    const left = widest(rows) + 6;
    const over = Math.ceil(widest(columns) * Math.cos(TILT));
    const fits = Math.floor((space - left - over - 10) / columns.length);
    const cell = clamp(Math.min(fits, Math.floor(480 / rows.length)), smallest, 44);
    const [width, height] = [cell * columns.length, cell * rows.length];
    const upright = widest(columns) < cell;
    const top = upright ? 26 : Math.ceil(flat) + 14;

    const [canvas, pen] = makeCanvas(width, height);
    paintCells(pen, map, cell);
    const bands = [el("i"), el("i"), el("i", { className: "cell" })];
    const bubble = el("span", { className: "bubble", "aria-hidden": "true" });
    const cells = el("div", { className: "cells" }, canvas, ...bands, bubble);
    place(cells, { width, height });
    const size = `${clamp(cell * 0.8, 9, 13)}px`;
    const every = Math.ceil(10 / cell); // on narrow rows only some words have room
    const labels = (words, set) =>
      words.map((token, i) => {
        const label = word(token, "label");
        label.style.fontSize = size;
        label.hidden = i % every > 0;
        set(label, i);
        return label;
      });
    const line = Math.max(cell, 14);
    const down = labels(rows, (label, i) => {
      place(label, { top: (i + 0.5) * cell - line / 2, lineHeight: line, maxWidth: left - 5 });
      label.classList.toggle("later", i > lastRow());
    });
    const across = labels(columns, (label, i) => {
      place(label, { left: (i + (upright ? 0 : 0.62)) * cell, maxWidth: LABEL });
      if (upright) place(label, { width: cell }).style.textAlign = "center";
      else label.style.transform = "rotate(-55deg)";
    });
    const grid = el(
      "div",
      { className: "heatmap" },
      place(el("div", { className: "corner" }), { width: left, height: top }),
      place(el("div", { className: "across" }, ...across), { width: width + over, height: top }),
      place(el("div", { className: "down" }, ...down), { width: left, height }),
      cells,
    );
    grid.style.gridTemplateColumns = "auto auto";
    const picture = el(
      "div",
      { className: "picture", ...focusable(`Heat map, ${map.label}`) },
      grid,
    );
    listen(picture, (x, y) => {
      const inside = (i, n) => (i >= 0 && i < n ? i : null);
      const row = inside(Math.floor((y - top) / cell), rows.length);
      const column = inside(Math.floor((x - left) / cell), columns.length);
      return row === null && column === null ? null : { row, column };
    });

    const showFocus = ({ row, column }) => {
      const [across1, down1, box] = bands;
      down.forEach((label, i) => light(label, i === row, i % every > 0));
      across.forEach((label, i) => light(label, i === column, i % every > 0));
      across1.hidden = row === null;
      down1.hidden = column === null;
      box.hidden = row === null || column === null;
      place(across1, { left: 0, top: row * cell, width, height: cell }).style.borderWidth = "1px 0";
      place(down1, { left: column * cell, top: 0, width: cell, height }).style.borderWidth =
        "0 1px";
      place(box, { left: column * cell, top: row * cell, width: cell, height: cell });
      bubble.hidden = box.hidden || cell >= NUMBERS; // from there on the cells have numbers
      if (bubble.hidden) return;
      bubble.textContent = number(map.at(row, column));
      const isRight = column > columns.length - 4;
      place(bubble, { left: (column + (isRight ? 0 : 1)) * cell, top: row * cell + cell / 2 });
      bubble.classList.toggle("flipped", isRight);
    };
    return { element: picture, follow: showFocus };
  };
  const light = (label, on, thin) => {
    label.classList.toggle("on", on);
    label.hidden = thin && !on;
  };
  const paintCells = (pen, map, cell) => {
    const { columns } = state.kind;
    const gap = cell >= 8 ? 1 : 0;
    pen.fillStyle = theme === "dark" ? "#2b303a" : "#e3e8ef";
    if (gap) pen.fillRect(0, 0, cell * columns.length, cell * (lastRow() + 1));
    pen.font = `${clamp(cell * 0.36, 10, 13)}px system-ui, sans-serif`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    for (let row = 0; row <= lastRow(); row += 1) {
      for (let column = 0; column < columns.length; column += 1) {
        const value = map.at(row, column);
        const { fill, ink } = shade(value);
        pen.fillStyle = fill;
        pen.fillRect(column * cell, row * cell, cell - gap, cell - gap);
        if (cell < NUMBERS || value < 0.005) continue;
        pen.fillStyle = ink;
        pen.fillText(number(value).replace("0.", "."), (column + 0.5) * cell, (row + 0.5) * cell);
      }
    }
  };

  // ---- lines between two columns of words

  const lines = (maps, space) => {
    const { rows, columns } = state.kind;
    const most = Math.max(rows.length, columns.length);
    const pitch = clamp(Math.floor(520 / most), 12, 28);
    const height = pitch * most;
    const [left, right] = [widest(rows) + 8, widest(columns) + 60];
    const width = clamp(space - left - right - 10, 90, 420);
    const middle = (i, words) => (i + 0.5 + (most - words.length) / 2) * pitch;
    const size = `${clamp(pitch * 0.8, 9, 14)}px`;
    const column = (words, className, set) =>
      words.map((token, i) => {
        const label = word(token, `label ${className}`);
        place(label, { top: middle(i, words) - pitch / 2, height: pitch, lineHeight: pitch });
        label.style.fontSize = size;
        set(label, i);
        return label;
      });
    const from = column(rows, "left", (label, i) => {
      place(label, { right: width + right + 5, maxWidth: left - 5 });
      label.classList.toggle("later", i > lastRow());
    });
    const to = column(columns, "right", (label) => {
      place(label, { left: left + width + 5, maxWidth: right - 50 });
    });
    const weights = columns.map((_, i) => {
      const text = el("span", { className: "label weight" });
      text.style.fontSize = size;
      const top = middle(i, columns) - pitch / 2;
      return place(text, { left: left + width + right - 46, top, lineHeight: pitch });
    });
    const [canvas, pen] = makeCanvas(width, height);
    canvas.style.left = `${left}px`;
    const label = `Lines, ${maps.map((map) => map.label).join("; ")}`;
    const picture = el("div", { className: "picture lines", ...focusable(label) });
    picture.append(canvas, ...from, ...to, ...weights);
    place(picture, { width: left + width + right, height });

    const nearest = (y, words) => {
      const i = Math.floor(y / pitch - (most - words.length) / 2);
      return i >= 0 && i < words.length ? i : null;
    };
    listen(picture, (x, y) => {
      const isLeft = x < left + width / 2;
      const i = nearest(y, isLeft ? rows : columns);
      if (i === null) return null;
      return isLeft ? { row: i, column: null } : { row: null, column: i };
    });
    const paint = (focused) => {
      pen.clearRect(0, 0, width, height);
      const any = focused.row !== null || focused.column !== null;
      for (let row = 0; row <= lastRow(); row += 1) {
        for (let key = 0; key < columns.length; key += 1) {
          const lit = focused.row === null ? focused.column === key : focused.row === row;
          maps.forEach((map, i) => {
            const value = map.at(row, key);
            if (value < 0.005) return;
            pen.globalAlpha = any && !lit ? 0.15 * value : Math.min(1, 0.04 + value);
            pen.strokeStyle = map.colour;
            pen.lineWidth = 0.5 + (maps.length > 1 ? 2 : 3) * value;
            const beside = (i - (maps.length - 1) / 2) * Math.min(3, (0.7 * pitch) / maps.length);
            const [start, end] = [middle(row, rows) + beside, middle(key, columns) + beside];
            pen.beginPath();
            pen.moveTo(0, start);
            pen.bezierCurveTo(width * 0.45, start, width * 0.55, end, width, end);
            pen.stroke();
          });
        }
      }
    };
    const showFocus = (focused) => {
      paint(focused);
      from.forEach((each, i) => each.classList.toggle("on", i === focused.row));
      to.forEach((each, i) => each.classList.toggle("on", i === focused.column));
      weights.forEach((each, i) => {
        const value = focused.row === null || maps.length > 1 ? 0 : maps[0].at(focused.row, i);
        each.textContent = value < 0.005 ? "" : number(value);
      });
    };
    return { element: picture, follow: showFocus };
  };

  // ---- all layers and heads, small

  const thumbnail = (map, width, height) => {
    const { rows, columns } = state.kind;
    const canvas = el("canvas", { width: columns.length, height: rows.length });
    canvas.setAttribute("aria-hidden", "true");
    const pen = canvas.getContext("2d");
    const image = pen.createImageData(columns.length, rows.length);
    rows.forEach((_, row) =>
      columns.forEach((_, column) => {
        const pixel = row <= lastRow() ? shade(map.at(row, column)).rgb : shades[0].rgb;
        image.data.set([...pixel, 255], 4 * (row * columns.length + column));
      }),
    );
    pen.putImageData(image, 0, 0);
    return place(canvas, { width, height });
  };
  const overview = (space) => {
    const { kind } = state;
    const across = clamp(Math.floor((space - 60) / kind.heads) - 16, 36, 130);
    const high = clamp((across * kind.rows.length) / kind.columns.length, 24, 160);
    const grid = el("div", { className: "overview" });
    grid.style.gridTemplateColumns = `repeat(${kind.heads + 1}, auto)`;
    const name = (text) => el("span", { className: "name", textContent: text });
    grid.append(name(""), ...range(kind.heads).map((head) => name(`head ${head + 1}`)));
    for (const layer of range(kind.layers)) {
      grid.append(name(`layer ${layer + 1}`));
      for (const head of range(kind.heads)) {
        const map = { at: average(kind, layer, [head]) };
        const button = el("button", { type: "button" }, thumbnail(map, across, high));
        button.setAttribute("aria-label", `layer ${layer + 1}, head ${head + 1}: show it large`);
        button.addEventListener("click", () => {
          state.panels[0] = makePanel(layer, head + 1);
          state.view = "map";
          build();
          stage.querySelector(".picture").focus();
        });
        grid.append(button);
      }
    }
    return { element: grid, follow: () => {} };
  };

  // ---- the sentence read and the sentence written

  const sentence = (name, words, className) => {
    const spans = words.map((token) => word(token, "word"));
    const label = el("span", { className: "name", textContent: name });
    const element = el("div", { className: `sentence ${className}` }, label, ...spans);
    element.classList.toggle("long", words.length > 40);
    return [element, spans];
  };
  const sentences = (panel) => {
    const { kind } = state;
    const [reads, read] = sentence("reads", kind.columns, "reads");
    const [writes, written] = sentence("writes", kind.rows, "writes");
    const maps = mapsOf(panel);
    written.forEach((span, i) => {
      span.addEventListener("pointerenter", () => {
        state.hover = { row: i, column: null };
        follow();
      });
      span.addEventListener("pointerleave", () => {
        state.hover = null;
        follow();
      });
    });
    const showFocus = ({ row, column }) => {
      const now = row === null ? lastRow() : row;
      read.forEach((span, i) => {
        const value = maps.reduce((sum, map) => sum + map.at(now, i), 0) / maps.length;
        span.style.backgroundColor = shade(value).fill;
        span.style.color = shade(value).ink;
        span.classList.toggle("on", i === column);
      });
      written.forEach((span, i) => {
        span.classList.toggle("on", i === now);
        span.classList.toggle("later", i > lastRow());
      });
    };
    return { element: el("div", {}, reads, writes), follow: showFocus };
  };

  // ---- the weights in words

  const say = ({ row, column }) => {
    const { rows, columns } = state.kind;
    const parts = [];
    const maps = state.view === "overview" ? [] : state.panels.flatMap(mapsOf);
    const values = (r, c) =>
      maps.flatMap((map, i) => {
        const weight = el("b", { textContent: number(map.at(r, c)) });
        return maps.length > 1 ? [i ? "; " : "", `${map.label} `, weight] : [weight];
      });
    const list = (count, at, token) => {
      const mean = (i) => maps.reduce((sum, map) => sum + at(map, i), 0) / maps.length;
      strongest(count, mean, 3).forEach((i, n) => {
        parts.push(n ? ", " : "", token(i), ": ", el("b", { textContent: number(mean(i)) }));
      });
      if (maps.length > 1) parts.push(` (mean of the ${maps.length} maps)`);
    };
    if (!maps.length) parts.push("Choose a head to see it large.");
    else if (row !== null && column !== null) {
      parts.push(quoted(rows, row), " looks at ", quoted(columns, column), ": ");
      parts.push(...values(row, column));
    } else if (row !== null) {
      parts.push(quoted(rows, row), " looks at ");
      list(
        columns.length,
        (map, i) => map.at(row, i),
        (i) => quoted(columns, i),
      );
    } else if (column !== null) {
      parts.push(quoted(columns, column), " is looked at by ");
      list(
        lastRow() + 1,
        (map, i) => map.at(i, column),
        (i) => quoted(rows, i),
      );
    } else
      parts.push("Point at a word or a cell (a click keeps it), or press Tab and the arrow keys.");
    spoken.replaceChildren(...parts);
  };

  // ---- controls

  let groups = 0;
  const chip = (type, name, text, checked, choose) => {
    const input = el("input", { type, name, checked });
    input.addEventListener("change", () => choose(input.checked));
    return el("label", { className: "chip" }, input, el("span", { textContent: text }));
  };
  const choices = (label, options, chosen, choose) => {
    groups += 1;
    const chips = Object.entries(options).map(([value, text]) =>
      chip("radio", `group${groups}`, text, value === chosen, () => choose(value)),
    );
    const legend = el("legend", { textContent: label });
    return el("fieldset", { className: "choices" }, legend, ...chips);
  };
  const button = (text, label, press) => {
    const element = el("button", { type: "button", textContent: text, "aria-label": label });
    element.addEventListener("click", press);
    return element;
  };

  const headChoices = (panel) => {
    const { kind } = state;
    const box = el("fieldset", { className: "choices" });
    const legend = el("legend", { textContent: "Head" });
    const fill = () => {
      groups += 1;
      const chips = range(kind.heads).map((head) => {
        const type = panel.many === "one" ? "radio" : "checkbox";
        const choose = (checked) => {
          if (panel.many === "one") panel.heads.clear();
          if (checked) panel.heads.add(head);
          else if (panel.heads.size > 1) panel.heads.delete(head);
          else chips[head].firstChild.checked = true; // the last one stays
          draw();
        };
        const each = chip(type, `group${groups}`, `${head + 1}`, panel.heads.has(head), choose);
        if (panel.many === "several" && state.view === "lines") {
          const colours = HEAD_COLOURS[theme];
          each.lastChild.classList.add("swatch");
          each.lastChild.style.setProperty("--swatch", colours[head % colours.length]);
        }
        return each;
      });
      box.replaceChildren(legend, ...chips);
    };
    fill();
    const many = choices("Show", MANY, panel.many, (value) => {
      const before = panel.many;
      panel.many = value;
      if (value === "one") panel.heads = new Set([Math.min(...panel.heads)]);
      else if (before === "one") panel.heads = new Set(range(kind.heads));
      fill();
      draw();
    });
    return [many, box];
  };
  const panelControls = (panel, i) => {
    const layers = Object.fromEntries(range(state.kind.layers).map((n) => [n, `${n + 1}`]));
    const layer = choices("Layer", layers, `${panel.layer}`, (value) => {
      panel.layer = Number(value);
      draw();
    });
    const bar = el("div", { className: "bar", role: "group" }, layer, ...headChoices(panel));
    bar.setAttribute("aria-label", state.panels.length > 1 ? `Picture ${i + 1}` : "Picture");
    return bar;
  };

  const player = () => {
    const count = state.kind.rows.length;
    const slider = el("input", { type: "range", min: 1, max: count, value: state.step });
    slider.setAttribute("aria-label", "Decoding step");
    const text = el("span", { className: "note" });
    let timer = null;
    const stop = () => {
      clearInterval(timer);
      timer = null;
      play.textContent = "Play";
    };
    const go = (step) => {
      state.step = clamp(step, 1, count);
      state.pinned = { row: state.step - 1, column: null };
      state.hover = null;
      slider.value = state.step;
      describe();
      draw();
    };
    const describe = () => {
      const before = `step ${state.step} of ${count} writes `;
      text.replaceChildren(before, quoted(state.kind.rows, state.step - 1));
      slider.setAttribute("aria-valuetext", text.textContent);
    };
    const play = button("Play", "Play or pause the decoding", () => {
      if (timer !== null) return stop();
      if (state.step === count) go(1);
      play.textContent = "Pause";
      timer = setInterval(() => {
        if (!play.isConnected || state.step === count) stop();
        else go(state.step + 1);
      }, 900);
    });
    play.hidden = matchMedia("(prefers-reduced-motion: reduce)").matches;
    slider.addEventListener("input", () => go(Number(slider.value)));
    describe();
    const back = button("◀", "One step back", () => go(state.step - 1));
    const on = button("▶", "One step on", () => go(state.step + 1));
    const name = el("span", { className: "name", textContent: "Decoding" });
    return el("div", { className: "bar" }, name, back, slider, on, play, text);
  };

  // ---- putting it together

  const controls = el("div");
  const decoding = el("div", { className: "decoding" });
  const spoken = el("output", { "aria-live": "polite" });
  const stage = el("div", { className: "stage" });
  const foot = el("div", { className: "foot" });
  const root = el("main", {}, controls, decoding, spoken, stage, foot);

  const chooseKind = (name) => {
    state.kind = data.maps.find((kind) => kind.kind === name);
    state.step = state.kind.rows.length;
    state.pinned = null;
    state.panels = [makePanel(state.kind.layers - 1, "mean")];
  };

  // Controls are made anew only when there are other ones, so that the keyboard stays where it is.
  const build = () => {
    const names = Object.fromEntries(
      data.maps.map((kind) => [kind.kind, kind.name.replace("-attention", "")]),
    );
    const views = { map: "heat map", lines: "lines", overview: "all heads" };
    const again = (change) => (value) => {
      change(value);
      const name = document.activeElement.parentElement?.textContent;
      build();
      const chips = [...controls.querySelectorAll(".chip")];
      chips.find((each) => each.textContent === name)?.firstChild.focus();
    };
    const first = [
      choices(
        "View",
        views,
        state.view,
        again((value) => (state.view = value)),
      ),
    ];
    if (data.maps.length > 1)
      first.push(choices("Attention", names, state.kind.kind, again(chooseKind)));
    const large = state.view !== "overview";
    if (large) {
      const compare = (on) => {
        const [{ layer, heads }] = state.panels;
        const head = Math.min(...heads);
        const other = (head + 1) % state.kind.heads;
        state.panels = [makePanel(layer, head + 1)];
        if (on) state.panels.push(makePanel(layer, other + 1));
      };
      first.push(
        chip("checkbox", "compare", "compare two", state.panels.length > 1, again(compare)),
      );
    }
    controls.replaceChildren(el("div", { className: "bar" }, ...first));
    if (data.title) controls.prepend(el("h1", { textContent: data.title }));
    if (large && state.panels.length === 1) controls.append(panelControls(state.panels[0], 0));
    decoding.hidden = !state.kind.decodes;
    panelParts = state.panels.map((panel, i) => {
      const maps = el("div", { className: "maps" });
      const part = el("div", { className: "panel" });
      if (large && state.panels.length > 1) part.append(panelControls(panel, i));
      part.append(maps);
      return { panel, part, maps };
    });
    stage.replaceChildren(...panelParts.map(({ part }) => part));
    decoding.replaceChildren(player(), el("div"));
    draw();
  };
  let panelParts = [];

  const draw = () => {
    if (!root.clientWidth) return; // not on the screen yet
    pictures = [];
    for (const { panel, maps } of panelParts) {
      const space = maps.clientWidth || root.clientWidth - 24;
      const made = picturesOf(panel, space - 8);
      pictures.push(...made);
      maps.replaceChildren(...made.map((picture) => picture.element));
    }
    if (state.kind.decodes) {
      const strip = sentences(state.panels[0]);
      decoding.lastChild.replaceWith(strip.element);
      pictures.push(strip);
    }
    foot.replaceChildren(el("span", { className: "note", textContent: note() }), scale());
    follow();
    fit();
  };
  const picturesOf = (panel, space) => {
    if (state.view === "overview") return [overview(space)];
    const maps = mapsOf(panel);
    const captioned = (picture, text) => {
      const caption = el("figcaption", { textContent: text });
      return { element: el("figure", {}, caption, picture.element), follow: picture.follow };
    };
    if (state.view === "lines") {
      return [captioned(lines(maps, space), maps.map((map) => map.label).join(" · "))];
    }
    const { columns } = state.kind;
    const comfortable = 130 + columns.length * (columns.length > 24 ? 5 : 14);
    const beside = clamp(Math.floor(space / comfortable), 1, maps.length);
    const smallest = maps.length > 1 ? 5 : 10;
    return maps.map((map) =>
      captioned(heatmap(map, (space - 10 * (beside - 1)) / beside, smallest), map.label),
    );
  };
  const note = () => {
    const means = state.panels.some((panel) => panel.many === "mean");
    return means && state.view !== "overview"
      ? `${NOTES[state.kind.kind]} The mean is that of weights rounded to 0.01.`
      : NOTES[state.kind.kind];
  };
  const scale = () => {
    const [canvas, pen] = makeCanvas(101, 12);
    shades.forEach(({ fill }, i) => {
      pen.fillStyle = fill;
      pen.fillRect(i, 0, 1, 12);
    });
    return el("span", { className: "scale note" }, "weight 0", canvas, "1");
  };
  const fit = () => {
    const frame = window.frameElement;
    if (frame) frame.style.height = `${root.offsetHeight}px`;
  };

  const restyle = () => {
    const before = theme;
    applyTheme();
    if (theme !== before) build();
  };
  const start = () => {
    document.title = data.title || "Attention";
    document.body.append(root);
    applyTheme();
    chooseKind(data.open.kind);
    state.panels = [makePanel(data.open.layer - 1, data.open.head)];
    build();
    let width = root.clientWidth;
    new ResizeObserver(() => {
      if (root.clientWidth === width) return;
      width = root.clientWidth;
      draw();
    }).observe(root);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
    if (!window.frameElement) return;
    const page = window.frameElement.ownerDocument;
    for (const element of [page.documentElement, page.body]) {
      new MutationObserver(() => setTimeout(restyle, 100)).observe(element, { attributes: true });
    }
  };
  start();
})();
