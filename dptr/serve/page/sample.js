// Draws a sample picture, the sign of a shop, so that the page needs no picture file.

export function drawSample() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [1200, 800];
  const pen = canvas.getContext("2d");
  const wall = pen.createLinearGradient(0, 0, 1200, 800);
  wall.addColorStop(0, "#d8c3a5");
  wall.addColorStop(1, "#b08d68");
  pen.fillStyle = wall;
  pen.fillRect(0, 0, 1200, 800);
  pen.strokeStyle = "rgb(90 60 40 / 16%)";
  pen.lineWidth = 3;
  for (let row = 0; row < 14; row += 1) {
    for (let column = -1; column < 10; column += 1) pen.strokeRect(column * 140 + (row % 2) * 70, row * 60, 140, 60);
  }
  pen.translate(600, 400);
  pen.rotate(-0.035);
  pen.shadowColor = "rgb(0 0 0 / 45%)";
  pen.shadowBlur = 36;
  pen.shadowOffsetY = 16;
  pen.fillStyle = "#123c33";
  pen.beginPath();
  pen.roundRect(-450, -280, 900, 560, 28);
  pen.fill();
  pen.shadowColor = "transparent";
  pen.strokeStyle = "#e9d8a6";
  pen.lineWidth = 5;
  pen.beginPath();
  pen.roundRect(-425, -255, 850, 510, 18);
  pen.stroke();
  pen.textAlign = "center";
  const write = (text, y, font, color = "#f6efd9") => {
    pen.font = font;
    pen.fillStyle = color;
    pen.fillText(text, 0, y);
  };
  write("Harbour Bakery", -120, "bold 84px Georgia, 'DejaVu Serif', serif");
  write("Fresh bread and coffee", -25, "52px Georgia, 'DejaVu Serif', serif", "#e9d8a6");
  write("Open daily 7:30 to 18:00", 90, "bold 54px system-ui, 'DejaVu Sans', sans-serif");
  write("Pier Street 42", 185, "46px system-ui, 'DejaVu Sans', sans-serif", "#a9cfc2");
  write("Est. 1897, Baker & Daughters", 232, "italic 22px Georgia, 'DejaVu Serif', serif", "#5d8a7c");
  return new Promise((resolve) => canvas.toBlob((blob) => resolve(new File([blob], "sample.png", { type: "image/png" })), "image/png"));
}
