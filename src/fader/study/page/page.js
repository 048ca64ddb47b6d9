// The raters' page: it asks the server what to show, shows it, and sends what the rater does.
// Texts come from the study and may hold anything, so they are only ever set as text.

const main = document.getElementById("main");
const message = document.getElementById("message");
const RETRY = [500, 1000, 2000, 4000]; // Milliseconds.

let state = null;
let sending = false;
let buttons = []; // Those that the number keys press.

function element(name, { text, className, children = [], ...properties } = {}) {
  const made = Object.assign(document.createElement(name), properties);
  if (text !== undefined) made.append(text);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function picture(name, alt) {
  const side = state.side;
  return element("img", { src: `pictures/${name}.png`, alt, width: side, height: side, draggable: false });
}

function button(label, action, className = "") {
  return element("button", { type: "button", text: label, className, onclick: action });
}

// The server's answer to a request. Without an answer it is sent again: an answer that was stored is not stored twice.
async function request(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  for (let attempt = 0; ; attempt++) {
    let response = null;
    try {
      response = await fetch(path, options);
    } catch {
      // No connection.
    }
    if (response && response.status < 500) {
      if (!response.ok) throw new Error(await response.text());
      message.textContent = "";
      return response.json();
    }
    message.textContent = "The server does not answer. Your last answer is not saved yet; trying again …";
    await new Promise((done) => setTimeout(done, RETRY[Math.min(attempt, RETRY.length - 1)]));
  }
}

async function go(path, body) {
  if (sending) return;
  sending = true;
  for (const one of main.querySelectorAll("button")) one.disabled = true;
  try {
    state = await request(path, body);
    show();
  } catch (error) {
    message.textContent = `That went wrong (${error.message.trim()}). Reload the page to go on.`;
  } finally {
    sending = false;
  }
}

function show() {
  document.title = state.title;
  document.getElementById("title").textContent = state.title;
  document.getElementById("progress").hidden = state.phase !== "item";
  main.className = state.phase;
  buttons = [];
  main.replaceChildren(...{ consent, task, item, end }[state.phase]());
  (main.querySelector("button.main") ?? main).focus();
}

function consent() {
  return [
    element("h2", { text: "Before you begin" }),
    ...state.consent.map((text) => element("p", { text })),
    button("I agree", () => go("api/consent", {}), "main"),
  ];
}

function task() {
  const { id, title, question, options, count, examples } = state.task;
  const pages = [
    element("h2", { text: title }),
    ...(state.tasks_done ? [element("p", { text: "Thank you, this task is done. There is another one, if you like." })] : []),
    element("p", { text: `${count} pictures. You will be asked of each:` }),
    element("p", { children: [element("strong", { text: question })] }),
  ];
  if (examples.length) {
    const shown = examples.map((example) => element("figure", {
      children: [
        element("div", { className: "shown", children: [picture(example.picture, "")] }),
        element("figcaption", { text: options[example.option] }),
      ],
    }));
    pages.push(element("p", { text: "Some examples with their answers:" }), element("div", { className: "examples", children: shown }));
  }
  pages.push(
    element("p", { className: "soft", text: "Answer with the number keys or a click. There is no way back to a picture. You may stop at any time and go on later in this browser." }),
    button("Begin", () => go("api/begin", { task: id }), "main"),
  );
  return pages;
}

function item() {
  const { question, options, count } = state.task;
  const [now, next] = state.items;
  Object.assign(document.getElementById("bar"), { max: count, value: state.done });
  document.getElementById("count").textContent = `${state.done} of ${count}`;
  for (const name of next ? [next.picture, ...next.choices] : []) new Image().src = `pictures/${name}.png`;
  const answer = (number) => () => go("api/answer", { item: now.id, answer: number });
  const label = (number, content) => {
    const made = button("", answer(number));
    made.append(element("kbd", { text: `${number + 1}` }), content);
    return made;
  };
  buttons = now.choices.length
    ? now.choices.map((name, number) => label(number, picture(name, `Choice ${number + 1}`)))
    : options.map((text, number) => label(number, text));
  const shown = element("div", { className: "shown", children: [picture(now.picture, "The picture to judge")] });
  enableOnceSeen([shown, ...buttons]);
  return [
    element("h2", { text: question }),
    shown,
    element("div", { className: now.choices.length ? "answers pictures" : "answers", children: buttons }),
  ];
}

// Nobody judges a picture that is not there yet.
async function enableOnceSeen(shown) {
  const own = buttons;
  for (const one of own) one.disabled = true;
  try {
    await Promise.all(shown.flatMap((one) => [...one.querySelectorAll("img")]).map((image) => image.decode()));
    for (const one of own) one.disabled = false;
  } catch {
    message.textContent = "A picture did not load; reload the page to go on.";
  }
}

function end() {
  return [
    element("h2", { text: "Thank you" }),
    element("p", { text: state.tasks_done ? "There is nothing left to do. You can close this page." : "All places are taken at the moment. You can close this page." }),
  ];
}

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || !/^[1-9]$/.test(event.key)) return;
  buttons[Number(event.key) - 1]?.click();
});

go("api/state");
