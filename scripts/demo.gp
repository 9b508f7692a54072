# gnuplot -c demo.gp FOLDER: the picture of demo.sh, from the traces in FOLDER. Colours: Okabe and Ito, 2008.
folder = ARG1
set datafile separator ","
file(name) = folder . "/" . name . ".csv"
stats file("vr_diana_lsvrg") using "uplink_bits" nooutput
right = STATS_max / 1e6 * 1.5
stats file("lsvrg") using "uplink_bits" nooutput
dense = STATS_max / 1e6

set logscale y
set format y "10^{%T}"
set xrange [0:right]
set yrange [5e-13:3]
set ytics 100
set mytics 1
set xlabel "Mbit sent by each worker"
set ylabel "gap to the optimum, P(x) - P(x*)" offset -1
set title "Logistic regression on mushrooms, 12 workers" offset 0, 0.3
set border 3 lc rgb "#606060"
set tics nomirror textcolor rgb "#202020"
set grid ytics lt 1 lw 1 lc rgb "#DDDDDD"
unset key
set lmargin 11; set rmargin 3; set tmargin 3; set bmargin 4

# Names stand beside their lines. gap_at: of a trace at x Mbit; bits_at: Mbit at which a trace falls below a gap.
awk(name, program) = real(system(sprintf("awk -F, '%s' '%s'", program, file(name))))
gap_at(name, x) = awk(name, sprintf("NR > 1 && $3 <= %.0f { g = $7 } END { print g + 0 }", x * 1e6))
bits_at(name, gap) = awk(name, sprintf("NR > 1 && $7 <= %g { print $3 / 1e6; exit }", gap))
above = gap_at("lsvrg", 0.2 * right)
below = gap_at("diana", 0.6 * right)
set label 1 sprintf("L-SVRG, uncompressed: 10^{-12} at %.0f Mbit", dense) at 0.21 * right, above * 25 tc rgb "#0072B2"
set label 2 "gradient descent, uncompressed" at 0.21 * right, above * 5 tc rgb "#AA4C80"
set label 3 "DIANA with SGD" at 0.6 * right, below / 14 tc rgb "#000000"
set label 4 "QSGD" at 0.6 * right, below / 70 tc rgb "#007A59"
set label 5 "VR-DIANA, SAGA" at bits_at("vr_diana_saga", 1e-9) + 0.02 * right, 1.6e-9 tc rgb "#A66F00"
set label 6 "VR-DIANA, L-SVRG" right at bits_at("vr_diana_lsvrg", 1e-9) - 0.02 * right, 6e-10 tc rgb "#D55E00"

draw = 'plot \
 file("gd") using (column("uplink_bits")/1e6):"gap" with lines lw 3 dt 2 lc rgb "#CC79A7", \
 file("lsvrg") using (column("uplink_bits")/1e6):"gap" with lines lw 3 lc rgb "#0072B2", \
 file("qsgd") using (column("uplink_bits")/1e6):"gap" with lines lw 2 lc rgb "#009E73", \
 file("diana") using (column("uplink_bits")/1e6):"gap" with lines lw 2 lc rgb "#000000", \
 file("vr_diana_saga") using (column("uplink_bits")/1e6):"gap" with lines lw 5 dt 3 lc rgb "#E69F00", \
 file("vr_diana_lsvrg") using (column("uplink_bits")/1e6):"gap" with lines lw 5 lc rgb "#D55E00"'
set terminal pngcairo size 1280,800 font "DejaVu Sans,20" background rgb "white"
set output folder . "/demo.png"
eval draw
set terminal svg size 1280,800 dynamic font "DejaVu Sans,Verdana,Arial,sans-serif,20" background rgb "white"
set output folder . "/demo.svg"
eval draw
