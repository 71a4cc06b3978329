// Renders model.html into a shadow root that shares the page's style sheet, and patches only what changed.

function sharedSheet() {
  if (!window.forewarnSheet) {
    window.forewarnSheet = new CSSStyleSheet()
    window.forewarnSheet.replaceSync(document.getElementById("forewarn-css").textContent)
  }
  return window.forewarnSheet
}

const keyOf = (node) => (node.nodeType === 1 ? node.getAttribute("data-key") : null)
const sameKind = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b)

function patchAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    const kept = name === "open" || name === "disabled" || name === "data-early" || (name === "title" && old.nodeName === "FW-TIME")
    if (!fresh.hasAttribute(name) && !kept) old.removeAttribute(name)
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value)
  }
}

function patch(old, fresh) {
  if (old.nodeType !== 1) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue
    return
  }
  patchAttributes(old, fresh)
  patchChildren(old, fresh)
}

function patchChildren(old, fresh) {
  let at = old.firstChild
  for (const node of [...fresh.childNodes]) {
    const key = keyOf(node)
    let match = at
    if (key !== null) {
      while (match && !sameKind(match, node)) match = match.nextSibling
      if (match && match !== at) old.insertBefore(match, at)
    }
    if (match && sameKind(match, node)) {
      patch(match, node)
      at = match.nextSibling
    } else {
      old.insertBefore(node, at)
    }
  }
  while (at) {
    const next = at.nextSibling
    at.remove()
    at = next
  }
}

// The clipboard of the browser is there on https and on this machine only; elsewhere the old way must do.
async function copy(button) {
  const text = button.dataset.copy
  let done = false
  try {
    await navigator.clipboard.writeText(text)
    done = true
  } catch {
    const field = document.createElement("textarea")
    field.value = text
    document.body.append(field)
    field.select()
    done = document.execCommand("copy")
    field.remove()
    button.focus()
  }
  button.textContent = done ? "Copied" : "Select it by hand"
  setTimeout(() => { button.textContent = "Copy" }, 2000)
}

// The server has put the first answer into the page: it goes on as it is, with what was opened, typed and focused.
function adopt(name) {
  const box = document.querySelector(`[data-piece="${name}"]`)
  if (!box) return null
  box.removeAttribute("data-piece")
  const scrolled = [...box.querySelectorAll(".scroll")].map((e) => [e, e.scrollTop, e.scrollLeft])
  setTimeout(() => {
    for (const [element, top, left] of scrolled) element.scrollTo(left, top)
    const last = window.forewarnFocus // not what had it before: the reader may have gone on meanwhile
    if (document.activeElement === document.body && box.contains(last)) last.focus({ preventScroll: true })
  })
  return box
}

export function render({ model, el }) {
  const box = adopt(model.piece) ?? document.createElement("div")
  box.className = model.reader ? "live reader" : "live"
  const page = document.documentElement.classList
  const show = () => {
    const fresh = document.createElement("template")
    fresh.innerHTML = model.html
    patchChildren(box, fresh.content)
    if (model.html.trim()) page.add("heard")
    if (model.html.trim() && model.content) page.add("answered")
    if (box.querySelector("[data-nothing]")) page.add("nothing")
  }
  const release = () => {
    for (const b of box.querySelectorAll("button[disabled]")) b.removeAttribute("disabled")
  }
  box.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-action]")
    if (!form) return
    event.preventDefault()
    for (const b of form.querySelectorAll("button")) b.setAttribute("disabled", "")
    setTimeout(release, 4000)
    for (const d of box.querySelectorAll("details[data-menu]")) d.removeAttribute("open")
    model.send_msg({ action: form.dataset.action, fields: Object.fromEntries(new FormData(form)) })
    if (!form.hasAttribute("data-keep")) form.reset()
  })
  box.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-copy]")
    if (button) copy(button)
  })
  model.on("html", () => { show(); release() })
  const root = el.getRootNode()
  if (root instanceof ShadowRoot) root.adoptedStyleSheets = [...root.adoptedStyleSheets, sharedSheet()]
  show()
  // What was sent before this page was live waits in its form.
  setTimeout(() => { for (const form of box.querySelectorAll("form[data-early]")) { form.removeAttribute("data-early"); release(); form.requestSubmit() } })
  return box
}
