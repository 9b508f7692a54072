# gnuplot -c demo.gp FOLDER: the picture of demo.sh, from the traces in FOLDER. Colours: Okabe and Ito, 2008.
folder = ARG1
set datafile separator ","
ours = "#D55E00"; ours2 = "#E69F00"; dense = "#0072B2"; dense2 = "#56B4E9"; plateau = "#000000"; plateau2 = "#009E73"
file(name) = folder . "/" . name . ".csv"
stats file("vr_diana_lsvrg") using "uplink_bits" nooutput
right = STATS_max / 1e6 * 1.5

set logscale y
set format y "10^{%T}"
set xrange [0:right]
set yrange [4e-13:2]
set ytics 100
set xlabel "Mbit sent by each worker"
set ylabel "gap to the optimum, P(x) - P(x*)"
set title "Logistic regression on mushrooms, 12 workers"
set border 3
set tics nomirror
set grid ytics lc rgb "#DDDDDD"
unset key
set lmargin 11; set rmargin 4; set tmargin 3; set bmargin 4

# y of the last point of a trace at or left of x
level(name, x) = real(system(sprintf("awk -F, 'NR > 1 && $3 <= %g { g = $7 } END { print g }' '%s'", x * 1e6, file(name))))
set label 1 "VR-DIANA, L-SVRG" at right * 0.45, level("vr_diana_lsvrg", right * 0.43) tc rgb ours
draw = 'plot \
 file("gd") using (column("uplink_bits")/1e6):"gap" with lines lw 3 dt 2 lc rgb dense2, \
 file("lsvrg") using (column("uplink_bits")/1e6):"gap" with lines lw 3 lc rgb dense, \
 file("qsgd") using (column("uplink_bits")/1e6):"gap" with lines lw 2 lc rgb plateau2, \
 file("diana") using (column("uplink_bits")/1e6):"gap" with lines lw 2 lc rgb plateau, \
 file("vr_diana_saga") using (column("uplink_bits")/1e6):"gap" with lines lw 4 dt 3 lc rgb ours2, \
 file("vr_diana_lsvrg") using (column("uplink_bits")/1e6):"gap" with lines lw 4 lc rgb ours'
set terminal pngcairo size 1280,800 font "DejaVu Sans,20" background rgb "white"
set output folder . "/demo.png"
eval draw
set terminal svg size 1280,800 dynamic font "DejaVu Sans,Helvetica,Arial,sans-serif,20" background rgb "white"
set output folder . "/demo.svg"
eval draw
